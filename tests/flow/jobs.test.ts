import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { createPool } from '../../src/db/pool.ts'
import { jobQueue } from '../../src/jobs/queues.ts'
import { unstartedBoss } from '../../src/jobs/unstarted.ts'
import { createDatabase } from '../support/database.ts'
import { startInstance } from '../support/instance.ts'
import type { Instance } from '../support/instance.ts'
import { until } from '../support/until.ts'

const LONG = process.env['TIDEMARK_LONG'] === '1'

/** `once` ends with its first failure; where HANGS is set it never comes to its end. */
const CONFIG = `
export default {
  jobs: {
    once: { retryLimit: 0, async handle(job, { log }) {
      log.info('began', { run: job.data?.run })
      if (process.env.HANGS) await new Promise(() => {})
    } },
    tick: { cron: '* * * * *', retryLimit: 0, async handle(job, { log }) { log.info('began') } },
  },
}`

async function world(t: TestContext) {
  const database = await createDatabase(t)
  const own = createPool({
    url: database.url,
    applicationName: 'test',
    connectTimeoutMs: 5_000,
    limits: { statementTimeoutMs: 10_000, lockTimeoutMs: 5_000, idleInTransactionMs: 10_000 },
    max: 2,
  })
  t.after(() => own.end())
  const pool = database.pool()
  const start = async (env: Record<string, string> = {}): Promise<Instance> => {
    const instance = await startInstance(t, { databaseUrl: database.url, config: CONFIG, env })
    await instance.said('ready')
    return instance
  }
  return {
    start,
    pool,
    send: () => unstartedBoss(own).send(jobQueue('once'), {}),
    states: async (job: string): Promise<string[]> => {
      const { rows } = await pool.query<{ state: string }>(
        'SELECT state::text FROM pgboss.job WHERE name = $1 ORDER BY created_on',
        [jobQueue(job)],
      )
      return rows.map(({ state }) => state)
    },
  }
}

test('a killed instance’s job runs again within 10 s, and is not failed, whatever its retryLimit', async (t) => {
  const { start, send, states, pool } = await world(t)
  const first = await start({ HANGS: '1' })
  await send()
  await first.said('handler_log', { task: 'once' })
  const second = await start()
  const killedAt = first.kill('SIGKILL')
  const again = await second.said('handler_log', { task: 'once' })
  t.diagnostic(`began again ${again.at - killedAt} ms after kill -9`)
  assert.ok(again.at - killedAt < 10_000, `began again ${again.at - killedAt} ms after kill -9`)
  await until('its end', async () => (await states('once'))[0] === 'completed')
  // The claim is forgotten a moment after the job is settled.
  await until('no claim to be left', async () => {
    const { rows } = await pool.query('SELECT FROM service_ops.job_claim')
    return rows.length === 0
  })
})

test('an interrupted job with retryLimit 0 is not failed by a deploy: the next instance runs it', async (t) => {
  const { start, send, states } = await world(t)
  const blue = await start({ HANGS: '1', DRAIN_TIMEOUT_SECONDS: '1' })
  await send()
  await blue.said('handler_log', { task: 'once' })
  const green = await start()
  const toldAt = blue.kill('SIGTERM')
  const again = await green.said('handler_log', { task: 'once' })
  t.diagnostic(`began again ${again.at - toldAt} ms after SIGTERM, with a drain of 1 s`)
  await green.said('job_done', { job: 'once' })
  assert.deepEqual(await states('once'), ['completed'])
  assert.equal((await blue.exited).code, 0)
  assert.deepEqual(blue.of('job_failed'), [])
})

test('a job of an instance that died alone runs when the next one comes', async (t) => {
  const { start, send, states, pool } = await world(t)
  const first = await start({ HANGS: '1' })
  await send()
  await first.said('handler_log', { task: 'once' })
  first.kill('SIGKILL')
  await first.exited
  // As after an hour in which nobody was there: pg-boss would fail the job for its silence.
  await pool.query(`UPDATE service_ops.runner_instance SET last_seen_at = last_seen_at - interval '1 hour';
    UPDATE pgboss.job SET heartbeat_on = heartbeat_on - interval '1 hour', started_on = started_on - interval '1 hour' WHERE name = 'job.once'`)
  const second = await start()
  await second.said('handler_log', { task: 'once' })
  await until('its end', async () => (await states('once'))[0] === 'completed')
})

test(
  'three minutes of kills: no tick is doubled or lost, and every job comes to its end',
  { skip: !LONG },
  async (t) => {
    const { start, states, pool } = await world(t)
    const alive = [await start(), await start()]
    const all = [...alive]
    const { rows: since } = await pool.query<{ now: Date }>('SELECT clock_timestamp() AS now')
    for (let kill = 0; kill < 9; kill += 1) {
      await new Promise((resolve) => setTimeout(resolve, 20_000))
      const [gone] = alive.splice(kill % 2, 1)
      gone?.kill('SIGKILL')
      const next = await start()
      alive.push(next)
      all.push(next)
    }
    await until('every tick to be done', async () =>
      (await states('tick')).every((state) => state === 'completed'),
    )
    const { rows } = await pool.query<{ ticks: number; slots: number; minutes: number }>(
      `SELECT count(*)::int AS ticks, count(DISTINCT date_trunc('minute', created_on))::int AS slots,
            extract(epoch FROM max(created_on) - $1::timestamptz)::float / 60 AS minutes
     FROM pgboss.job WHERE name = 'job.tick'`,
      [since[0]?.now],
    )
    const [seen] = rows
    t.diagnostic(JSON.stringify(seen))
    assert.ok(seen !== undefined)
    assert.equal(seen.ticks, seen.slots)
    // A tick may be sent late, in the minute of the next one: then that one stands for both.
    assert.ok(seen.minutes >= 2.5, `the last tick came after ${seen.minutes} minutes`)
    assert.ok(seen.ticks >= Math.floor(seen.minutes), `${seen.ticks} ticks in ${seen.minutes} minutes`)
    const began = all.flatMap((instance) => instance.of('handler_log', { task: 'tick' }))
    t.diagnostic(`${began.length} runs of ${seen.ticks} ticks`)
    assert.equal(new Set(began.map((line) => line['trace_id'])).size, seen.ticks)
    // Each kill may repeat one run that it cut off.
    assert.ok(began.length >= seen.ticks && began.length <= seen.ticks + 9, `${began.length} runs`)
  },
)
