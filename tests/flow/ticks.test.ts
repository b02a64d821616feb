import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import { describe, test, type TestContext } from 'node:test'
import { PgBoss } from 'pg-boss'
import type { Pool } from 'pg'
import { createRunner } from '../../src/runner.ts'
import { readSettings } from '../../src/config/settings.ts'
import { demoConfig } from '../../src/demo/config.ts'
import { startDemo } from '../../src/demo/traffic.ts'
import { createLog } from '../../src/telemetry/log.ts'
import { createDatabase } from '../support/database.ts'
import { startInstance, type Instance } from '../support/instance.ts'
import { until } from '../support/until.ts'

/*
 * How passes come to be. In health each due pass of a poller from 10 s on is one pg-boss job, and the ledger has no
 * `backstop`; with pg-boss out of order its leader makes them all the same, at most 4 s after their time.
 */

const QUEUE = 'poll.message_poller'
const SAMPLE_MS = 200
/** How late a pass may begin that its leader makes itself: 3 s of waiting for the job, and room to begin. */
const BACKSTOP_LATEST_S = 4

describe('due passes', { concurrency: true }, () => {
  test('each is one job in health, and is made by the leader while pg-boss is out of order', async (t) => {
    const database = await createDatabase(t)
    const pool = database.pool()
    const demo = await startInstance(t, { databaseUrl: database.url })
    await demo.said('ready')
    const beside = await startInstance(t, { databaseUrl: database.url, config: EVERY_SECOND })
    await beside.said('ready')

    await t.test('never two queued or two active, one job a pass, none by the backstop', async () => {
      const most = { queued: 0, active: 0 }
      await until(
        'three passes',
        async () => {
          const { rows } = await pool.query<{ queued: number; active: number; passes: number }>(
            `SELECT count(*) FILTER (WHERE state IN ('created', 'retry'))::int AS queued,
                  count(*) FILTER (WHERE state = 'active')::int AS active,
                  (SELECT count(*)::int FROM service_ops.poll_run WHERE poller = 'message_poller') AS passes
             FROM pgboss.job WHERE name = $1`,
            [QUEUE],
          )
          const { queued, active, passes } = rows[0] ?? { queued: 0, active: 0, passes: 0 }
          most.queued = Math.max(most.queued, queued)
          most.active = Math.max(most.active, active)
          await delay(SAMPLE_MS)
          return passes >= 3
        },
        60_000,
      )
      assert.ok(most.queued <= 1 && most.active <= 1, JSON.stringify(most))

      const { rows } = await pool.query(
        `SELECT r.outcome, count(j.id)::int AS jobs
           FROM service_ops.poll_run r
           LEFT JOIN pgboss.job j ON j.name = $1 AND j.start_after BETWEEN r.due_at - interval '1 second' AND r.due_at + interval '1 second'
          WHERE r.poller = 'message_poller' GROUP BY r.run_id, r.outcome`,
        [QUEUE],
      )
      for (const row of rows) assert.deepEqual(row, { outcome: 'ran', jobs: 1 })
    })

    await t.test('a poller at 1 s is kept by its leader’s loop beside it, without a job', async () => {
      const { rows } = await pool.query<{ passes: number; longest: number; jobs: number }>(`
        SELECT count(*)::int AS passes, max(gap)::float AS longest,
               (SELECT count(*)::int FROM pgboss.job WHERE name = 'poll.fast_poller') AS jobs
          FROM (SELECT extract(epoch FROM started_at - lag(started_at) OVER (ORDER BY run_id)) AS gap
                  FROM service_ops.poll_run WHERE poller = 'fast_poller') r`)
      const { passes, longest, jobs } = rows[0] ?? { passes: 0, longest: Infinity, jobs: 0 }
      assert.ok(passes >= 15, `only ${passes} passes`)
      assert.ok(longest < 3, `${longest} s without a pass`)
      assert.equal(jobs, 0)
    })

    await t.test(
      'while pg-boss’s workers can fetch nothing, passes go on as backstop; health is degraded',
      async () => {
        const { rows } = await pool.query<{ run: string }>(
          'SELECT max(run_id) AS run FROM service_ops.poll_run',
        )
        // Workers read the partition by its own name.
        await pool.query('ALTER TABLE pgboss.job_common RENAME TO put_away')
        await backstops(pool, rows[0]?.run ?? '0', 2)
        const { status, body } = await health(demo)
        assert.deepEqual([status, body.status, body.checks.queue.status], [200, 'degraded', 'degraded'])
        await pool.query('ALTER TABLE pgboss.put_away RENAME TO job_common')
        await until('a pass by its job again', async () => {
          const found = await pool.query(
            `SELECT FROM service_ops.poll_run WHERE poller = 'message_poller' AND outcome = 'ran'
              AND run_id > (SELECT max(run_id) FROM service_ops.poll_run WHERE outcome = 'backstop')`,
          )
          return (found.rowCount ?? 0) > 0
        })
      },
    )
  })

  test('with pg-boss stopped inside the leader, passes go on as backstop and health is degraded', async (t) => {
    const bosses = startedBosses(t)
    const database = await createDatabase(t)
    const pool = database.pool()
    const runner = createRunner(
      demoConfig(() => undefined),
      {
        settings: readSettings({ DATABASE_URL: database.url, PORT: '0', HOST: '127.0.0.1' }),
        log: createLog({ service: 'test', instanceId: 'test', level: 'critical' }),
        prepare: (work) => startDemo(work, 1),
      },
    )
    t.after(() => runner.stop())
    await runner.start()
    await until('the first pass', async () => {
      const { rowCount } = await pool.query(`SELECT FROM service_ops.poll_run WHERE outcome = 'ran'`)
      return rowCount === 1
    })
    const [boss] = bosses
    assert.ok(boss !== undefined && bosses.length === 1)
    await boss.stop({ graceful: false })
    await backstops(pool, '1', 2)
    const { status, body } = await health(runner)
    assert.deepEqual([status, body.status, body.checks.queue.status], [200, 'degraded', 'degraded'])
  })
})

const EVERY_SECOND = `export default {
  pollers: {
    fast_poller: {
      source: { table: 'service_ops.send_serviceops', id: 'message_id', createdAt: 'created_at' },
      every: '1s',
    },
  },
  processors: { fast_processor: { from: 'fast_poller', contract: 'external', handle() {} } },
}`

/** Waits for this many passes after a run of the ledger, and looks that all of them are backstops in time. */
async function backstops(pool: Pool, afterRun: string, count: number): Promise<void> {
  const rows = await until(
    `${count} passes by the backstop`,
    async () => {
      const found = await pool.query<{ outcome: string; late: number }>(
        `SELECT outcome, extract(epoch FROM started_at - due_at)::float AS late
         FROM service_ops.poll_run WHERE poller = 'message_poller' AND run_id > $1`,
        [afterRun],
      )
      return found.rows.length >= count ? found.rows : undefined
    },
    60_000,
  )
  for (const { outcome, late } of rows) {
    assert.equal(outcome, 'backstop')
    assert.ok(late < BACKSTOP_LATEST_S, `${late} s late`)
  }
}

interface Health {
  readonly status: string
  readonly checks: { readonly queue: { readonly status: string } }
}

async function health({ address }: Pick<Instance, 'address'> | { address: string | undefined }): Promise<{
  status: number
  body: Health
}> {
  const response = await fetch(`${address ?? ''}/health`)
  // The test reads nothing of it but these fields, and fails when they are missing.
  return { status: response.status, body: (await response.json()) as Health }
}

/** The pg-boss of each runner that starts from now on, which no runner lends. */
function startedBosses(t: TestContext): PgBoss[] {
  const started: PgBoss[] = []
  // eslint-disable-next-line @typescript-eslint/unbound-method -- called with its own `this` below
  const { start } = PgBoss.prototype
  t.mock.method(PgBoss.prototype, 'start', async function (this: PgBoss) {
    started.push(this)
    return start.call(this)
  })
  return started
}
