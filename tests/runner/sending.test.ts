import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { readSettings } from '../../src/config/settings.ts'
import type { TidemarkConfig } from '../../src/config/types.ts'
import { NotRunning } from '../../src/errors.ts'
import { createRunner } from '../../src/runner.ts'
import { createLog } from '../../src/telemetry/log.ts'
import { createDatabase } from '../support/database.ts'
import { programEnv } from '../support/programWay.ts'
import { until } from '../support/until.ts'
import { keptLines } from '../telemetry/lines.ts'

const TOKEN = 'a-token-of-more-than-16'

/** A whole instance, by the way that users start one. */
async function instance(t: TestContext, config: TidemarkConfig) {
  const database = await createDatabase(t)
  const lines = keptLines()
  const runner = createRunner(config, {
    settings: readSettings({
      ...programEnv(database.url),
      PORT: '0',
      HOST: '127.0.0.1',
      INTAKE_TOKEN: TOKEN,
    }),
    identity: { instanceId: 'one', holder: randomUUID() },
    log: createLog({ service: 'test', instanceId: 'one', sink: lines }),
  })
  t.after(() => runner.stop())
  const pool = database.pool()
  return {
    runner,
    lines,
    pool,
    jobs: async (queue: string) => {
      const { rows } = await pool.query<{ state: string; data: unknown }>(
        'SELECT state::text, data FROM pgboss.job WHERE name = $1 ORDER BY created_on',
        [queue],
      )
      return rows
    },
  }
}

test('a job that a transactional handler sends is there when its message is DONE, and not when it failed', async (t) => {
  const ran: unknown[] = []
  const { runner, pool, jobs } = await instance(t, {
    intakes: { orders: {} },
    processors: {
      packing: {
        from: 'orders',
        contract: 'transactional',
        maxAttempts: 1,
        async handle({ messageId }, { send }) {
          await send('welcome', { for: messageId })
          if (messageId === 'bad') throw new Error('not today')
        },
      },
    },
    jobs: { welcome: { handle: ({ data }) => void ran.push(data) } },
  })
  await runner.start()
  const response = await fetch(`${runner.address ?? ''}/inbox/orders`, {
    method: 'POST',
    headers: { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' },
    body: JSON.stringify(['bad', 'good'].map((id) => ({ message_id: id, payload: {} }))),
  })
  assert.equal(response.status, 202)
  await until('both messages to end', async () => {
    const { rows } = await pool.query(
      `SELECT FROM service_ops.integration_inbox WHERE status IN ('DONE', 'DEAD')`,
    )
    return rows.length === 2
  })
  await until('the job to run', () => ran.length > 0)
  assert.deepEqual(ran, [{ for: 'good' }])
  assert.equal((await jobs('job.welcome')).length, 1)
})

test('a runner sends, redrives what failed for good, and refuses both while it does not run', async (t) => {
  let fails = true
  let runs = 0
  const { runner, pool, jobs } = await instance(t, {
    jobs: {
      welcome: {
        retryLimit: 0,
        handle() {
          runs += 1
          if (fails) throw new Error('not today')
        },
      },
    },
  })
  await assert.rejects(runner.send('welcome'), NotRunning)
  await runner.start()
  const client = await pool.connect()
  await client.query('BEGIN')
  assert.ok(await runner.send('welcome', null, { tx: client }))
  await client.query('ROLLBACK')
  client.release()
  assert.deepEqual(await jobs('job.welcome'), [])
  assert.ok(await runner.send('welcome', { to: 'you' }))
  await until('it to be dead', async () => (await jobs('jobs.dead')).length === 1)
  fails = false
  assert.equal(await runner.redrive({ job: 'welcome' }), 1)
  await until('it to be done', async () =>
    (await jobs('job.welcome')).some(({ state }) => state === 'completed'),
  )
  assert.equal(runs, 2)
  await runner.stop()
  await assert.rejects(runner.send('welcome'), NotRunning)
  await assert.rejects(runner.redrive(), NotRunning)
})

test('clean-ups run at the stop, last registered first; one that never ends is left behind after 5 s, and said', async (t) => {
  const ran: string[] = []
  const { runner, lines } = await instance(t, {
    jobs: { welcome: { handle: () => undefined } },
    onShutdown: () => void ran.push('of the config'),
  })
  runner.onShutdown(() => void ran.push('first'))
  await runner.start()
  runner.onShutdown(async () => {
    ran.push('hangs')
    await new Promise(() => undefined)
  })
  runner.onShutdown(() => {
    ran.push('throws')
    throw new Error('no')
  })
  await runner.stop()
  assert.deepEqual(ran, ['throws', 'hangs', 'first', 'of the config'])
  const failed = lines.json.filter(({ event }) => event === 'cleanup_failed')
  assert.deepEqual(
    failed.map(({ cleanup }) => cleanup),
    ['clean-up 4', 'clean-up 3'],
  )
  assert.match(String(failed[1]?.['msg']), /longer than 5000 ms/)
})
