import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Pool } from '../../../src/db/pool.ts'
import { checkParts } from '../../../src/runner/checks.ts'
import { until } from '../../support/until.ts'
import { listened } from '../listened.ts'
import { delivering } from './fixture.ts'

/* A processor whose target takes nothing for a while. */

test('looks now and then all the same: it is degraded, and never taken for one that stands still', async (t) => {
  const { send, target, processor, deliveries } = await delivering(t)
  target.react(() => (answer) => answer.writeHead(429, { 'retry-after': '3600' }).end())
  await send('a')
  processor.start()
  await until('its message to be given back', () => processor.state.givenBack === 1)
  const { lastClaimAt: opened = 0 } = processor.state
  await until('it to look again', () => (processor.state.lastClaimAt ?? 0) - opened > 3_000)
  const { waiting } = deliveries
  const parts = { boss: undefined, leaders: undefined, pollers: [], failedTasks: [], waiting }
  const { processors } = checkParts({ ...parts, processors: [processor] }, opened + 60_001)
  assert.deepEqual(processors, {
    status: 'degraded',
    stalled: [],
    pool_pressure: false,
    circuits_open: ['sender'],
    in_work: { sender: 0 },
  })
})

test('gives back as such what a claim brings that was on its way, and lets it wait for the probe', async (t) => {
  const answer = Promise.withResolvers<undefined>()
  const refusal = Promise.withResolvers<undefined>()
  let holds = false
  const slow = (pool: Pool): Pool =>
    listened(pool, async (text, ask) => {
      const result = await ask()
      if (holds && text.includes('SKIP LOCKED') && result.rows.length > 0) await answer.promise
      return result
    })
  const { sql, send, target, processor, fates, become, log } = await delivering(t, {
    slow,
    circuit: { failures: 1, open: { baseMs: 600_000, maxMs: 600_000 } },
  })
  target.react(() => (response) => void refusal.promise.then(() => response.writeHead(502).end()))
  await send('first')
  processor.start()
  await until('the first to arrive', () => target.arrivals.length === 1)
  holds = true
  await send('second')
  processor.wake()
  await become({ second: 'PROCESSING 1' })
  refusal.resolve(undefined)
  await until('the circuit to open', () => log.of('circuit_opened').length === 1)
  answer.resolve(undefined)
  await until('both to be given back', () => processor.state.givenBack === 2)
  const { rows } = await sql.query<{ s: number }>(
    `SELECT extract(epoch FROM next_attempt_at - updated_at)::float8 AS s FROM service_ops.integration_inbox WHERE message_id = 'second'`,
  )
  assert.deepEqual((await fates())['second'], 'NEW 0 +1')
  assert.ok((rows[0]?.s ?? 0) > 200, `it waits ${rows[0]?.s} s`)
  assert.deepEqual(
    log.of('message_interrupted').map(({ message_id: id, reason }) => [id, reason]),
    [
      ['first', 'target fails'],
      ['second', 'circuit open'],
    ],
  )
  assert.equal(target.arrivals.length, 1)
})
