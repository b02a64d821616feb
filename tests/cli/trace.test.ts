import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import type { Scope } from '../support/scope.ts'
import { tidemark, type Outcome } from './tidemark.ts'

const MESSAGES = `
  INSERT INTO service_ops.background_task (id, task_name, kind, led, sources, config_hash, release)
  VALUES (1, 'packing', 'processor', false, '{orders,calls}', '', '');
  INSERT INTO service_ops.integration_inbox (source, message_id, status, created_at, processed_at, trace_id, payload, claim, attempts, locked_by)
  VALUES ('orders', 'o-1', 'DONE', '2026-03-04 05:06:07Z', '2026-03-04 05:08:07Z', 't-1', '{}', 2, 2, 'one-b'),
         ('calls', E'o-1', 'DONE', now(), now(), 't-2', '{}', 1, 1, 'one-b');
  INSERT INTO service_ops.message_attempt (inbox_id, claim, attempt, started_at, ended_at, instance_id, outcome, error)
  VALUES (1, 1, 1, '2026-03-04 05:06:08Z', '2026-03-04 05:06:08.25Z', 'one-a', 'failed', E'Error: \\u001b[31mred')`

async function database(t: Scope): Promise<(...args: string[]) => Promise<Outcome>> {
  const made = await createDatabase(t)
  await made.pool().query(MESSAGES)
  return (...args) => tidemark(['trace', ...args], { env: { DATABASE_URL: made.url } })
}

test('trace prints the story of a trace as a table, with times since its beginning', async (t) => {
  const run = await database(t)
  const { code, stdout, stderr } = await run('t-1')
  assert.deepEqual([code, stderr], [0, ''])
  assert.deepEqual(
    stdout
      .trimEnd()
      .split('\n')
      .map((line) => line.replace(/ {2,}/g, ' | ')),
    [
      'Trace t-1, since 2026-03-04 05:06:07 UTC',
      'after | what | who | detail',
      '+0 ms | taken in | - | sent to POST /inbox/orders, as o-1 (inbox_id 1)',
      '+1250 ms | failed | one-a | attempt 1 of 10, after 250 ms: Error: \uFFFD[31mred',
      '+2 min | done | one-b | by packing, attempt 2 of 10',
    ],
  )
})

test('trace --json is one document', async (t) => {
  const run = await database(t)
  const { code, stdout } = await run('t-1', '--json')
  assert.equal(code, 0)
  const { id, traces } = JSON.parse(stdout) as { id: string; traces: { trace_id: string; story: object[] }[] }
  assert.deepEqual([id, traces.map(({ trace_id: trace }) => trace)], ['t-1', ['t-1']])
  assert.deepEqual(traces[0]?.story[2], {
    at: '2026-03-04T05:08:07.000000Z',
    since_start_ms: 120_000,
    what: 'done',
    who: 'one-b',
    detail: 'by packing, attempt 2 of 10',
  })
})

test('an id that no trace has is looked for among those of messages, which is said', async (t) => {
  const run = await database(t)
  const { code, stdout } = await run('o-1')
  assert.equal(code, 0)
  assert.match(
    stdout,
    /^No trace has the id o-1; a message of calls has it, and this is its trace.\nTrace t-2/,
  )
  assert.match(
    stdout,
    /\n\nNo trace has the id o-1; a message of orders has it, and this is its trace.\nTrace t-1/,
  )
  const { traces } = JSON.parse((await run('o-1', '--json')).stdout) as { traces: object[] }
  assert.deepEqual(
    traces.map((trace) => ({ ...trace, story: undefined })),
    [
      { trace_id: 't-2', source: 'calls', story: undefined },
      { trace_id: 't-1', source: 'orders', story: undefined },
    ],
  )
})

test('a trace that is not found ends with 1, and a missing id is a mistake of usage', async (t) => {
  const run = await database(t)
  assert.deepEqual(await run('nothing'), {
    code: 1,
    stdout: '',
    stderr: 'nothing has the trace id nothing, and no message has it for its own id\n',
  })
  const json = await run('nothing', '--json')
  assert.deepEqual([json.code, JSON.parse(json.stdout)], [1, { id: 'nothing', traces: [] }])
  assert.equal((await run()).code, 64)
})
