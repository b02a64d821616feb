import assert from 'node:assert/strict'
import { hostname, userInfo } from 'node:os'
import { describe, test } from 'node:test'
import type { TestContext } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { tidemark } from './tidemark.ts'
import type { Outcome } from './tidemark.ts'

const ME = `${userInfo().username}@${hostname()}`

async function world(t: TestContext) {
  const database = await createDatabase(t)
  const sql = database.pool()
  await sql.query(`
    INSERT INTO service_ops.background_task (id, task_name, kind, led, sources, config_hash, release)
    VALUES (1, 'arrivals', 'poller', true, NULL, '', '1'), (2, 'reader', 'processor', false, '{arrivals}', '', '1'),
           (3, 'digest', 'job', false, NULL, '', '1');
    INSERT INTO service_ops.integration_inbox (source, message_id, payload, trace_id, status, next_attempt_at)
    SELECT 'arrivals', g, '{}', 't', 'DEAD', 'infinity' FROM generate_series(1, 3) g`)
  return {
    run: (...args: string[]): Promise<Outcome> => tidemark(args, { env: { DATABASE_URL: database.url } }),
    actions: async () =>
      (
        await sql.query<Record<string, unknown>>(
          `SELECT who, how, action, target, detail - 'role' AS detail FROM service_ops.operator_action ORDER BY action_id`,
        )
      ).rows,
  }
}

describe('tidemark pause and resume', () => {
  test('say what it means for the kind of task, and put on record who did it', async (t) => {
    const { run, actions } = await world(t)
    const cases: [task: string, said: RegExp][] = [
      [
        'arrivals',
        /^arrivals is paused, on every instance within 2 s: no pass is begun; the page at hand is finished\n$/,
      ],
      ['reader', /no message is begun; those in work go on to their end\n$/],
      ['digest', /no run is started; one at work goes on to its end\n$/],
    ]
    for (const [task, said] of cases) {
      const { code, stdout, stderr } = await run('pause', task)
      assert.deepEqual([code, stderr], [0, ''])
      assert.match(stdout, said)
    }
    const by = { who: ME, how: 'cli', detail: {} }
    assert.deepEqual(
      await actions(),
      cases.map(([target]) => ({ ...by, action: 'pause', target })),
    )
    const { stdout } = await run('status')
    assert.match(stdout, new RegExp(`^1 +arrivals +- +paused for [\\d.]+ m?s by ${ME} `, 'm'))
    assert.match(stdout, new RegExp(`^2 +reader +arrivals +paused for [\\d.]+ m?s by ${ME} `, 'm'))
    assert.match(stdout, new RegExp(`^3 +digest +paused for [\\d.]+ m?s by ${ME}$`, 'm'))
  })

  test('a second time they change nothing, say so, and are on record', async (t) => {
    const { run, actions } = await world(t)
    await run('pause', 'reader')
    const again = await run('pause', 'reader')
    assert.equal(again.code, 0)
    assert.match(again.stdout, /^reader is paused already, since 20.+ by .+\n$/)
    assert.equal((await run('resume', 'reader')).stdout, 'reader goes on\n')
    assert.equal((await run('resume', 'reader')).stdout, 'reader was not paused\n')
    assert.deepEqual(
      (await actions()).map(({ action, detail }) => [action, detail]),
      [
        ['pause', {}],
        ['pause', { changed: false }],
        ['resume', {}],
        ['resume', { changed: false }],
      ],
    )
  })

  test('print a document with --json', async (t) => {
    const { run } = await world(t)
    const { paused_at: at, ...rest } = JSON.parse((await run('pause', 'digest', '--json')).stdout) as Record<
      string,
      unknown
    >
    assert.match(String(at), /^20/)
    assert.deepEqual(rest, {
      task: 'digest',
      kind: 'job',
      paused: true,
      paused_by: ME,
      changed: true,
      action_id: 1,
    })
  })

  test('of a name that nobody has, end with 1 and name those that there are', async (t) => {
    const { run, actions } = await world(t)
    for (const verb of ['pause', 'resume']) {
      const { code, stdout, stderr } = await run(verb, 'raeder')
      assert.deepEqual(
        [code, stdout, stderr],
        [1, '', 'tidemark: there is no task named "raeder": there are arrivals, reader, digest\n'],
      )
    }
    assert.deepEqual(await actions(), [])
  })
})

describe('what else is on record', () => {
  test('a retry or discard of messages is one action, with its count and its filter', async (t) => {
    const { run, actions } = await world(t)
    assert.equal((await run('inbox', 'retry', '--id', '2')).code, 0)
    assert.equal((await run('inbox', 'discard', '--source', 'arrivals', '--limit', '2')).code, 0)
    // Nothing is left that it could change, so nothing was done.
    assert.equal((await run('inbox', 'retry', '--id', '9')).code, 1)
    const by = { who: ME, how: 'cli' }
    assert.deepEqual(await actions(), [
      { ...by, action: 'retry', target: 'inbox 2', detail: { ids: ['2'], messages: 1 } },
      { ...by, action: 'discard', target: 'inbox', detail: { sources: ['arrivals'], limit: 2, messages: 2 } },
    ])
  })
})
