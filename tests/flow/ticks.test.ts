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
import { programEnv, skipAsRunner } from '../support/programWay.ts'
import { startInstance, type Instance } from '../support/instance.ts'
import { until } from '../support/until.ts'

/*
 * How passes come to be. In health each due pass of a poller from 10 s on is one pg-boss job, and the ledger has no
 * `backstop`; with pg-boss out of order its leader makes them all the same, at most 4 s after their time.
 */

const QUEUE = 'poll.message_poller'
const SAMPLE_MS = 200
/** By design at most 4 s: 3 s of waiting for the job, and room to begin. What was measured is printed; this catches a hang. */
const BACKSTOP_LATEST_S = 30
/** By design a second or two. */
const LONGEST_GAP_S = 30
const LIMIT_MS = 120_000

describe('due passes', { concurrency: true }, () => {
  test('each is one job in health, and is made by the leader while pg-boss is out of order', async (t) => {
    const database = await createDatabase(t)
    const pool = database.pool()
    // Without traffic: its inserts would wake the poller between two due passes.
    const demo = await startInstance(t, { databaseUrl: database.url, env: { DEMO_RATE: '0' } })
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
        LIMIT_MS,
      )
      assert.ok(most.queued <= 1 && most.active <= 1, JSON.stringify(most))

      // Due times are by the leader's reckoning, a statement's delay off; jobs are ten seconds apart.
      const { rows } = await pool.query<{ outcome: string; jobs: number }>(
        `SELECT r.outcome, count(j.id)::int AS jobs
           FROM service_ops.poll_run r
           LEFT JOIN pgboss.job j ON j.name = $1 AND j.start_after BETWEEN r.due_at - interval '4 seconds' AND r.due_at + interval '4 seconds'
          WHERE r.poller = 'message_poller' GROUP BY r.run_id, r.outcome`,
        [QUEUE],
      )
      for (const { outcome, jobs } of rows) {
        // Late by its job all the same: the first one after a slow start.
        assert.match(outcome, /^(ran|late)$/)
        assert.equal(jobs, 1)
      }
    })

    await t.test('a poller at 1 s is kept by its leader’s loop beside it, without a job', async (t) => {
      const text = `
        SELECT count(*)::int AS passes, max(gap)::float AS longest,
               (SELECT count(*)::int FROM pgboss.job WHERE name = 'poll.fast_poller') AS jobs
          FROM (SELECT extract(epoch FROM started_at - lag(started_at) OVER (ORDER BY run_id)) AS gap
                  FROM service_ops.poll_run WHERE poller = 'fast_poller') r`
      const { passes, longest, jobs } = await until(
        'fifteen passes',
        async () => {
          const [row] = (await pool.query<{ passes: number; longest: number; jobs: number }>(text)).rows
          return row !== undefined && row.passes >= 15 && row
        },
        LIMIT_MS,
      )
      t.diagnostic(`${passes} passes, ${longest} s between two of them at most`)
      assert.ok(longest < LONGEST_GAP_S, `${longest} s without a pass`)
      assert.equal(jobs, 0)
    })

    await t.test(
      'while pg-boss’s workers can fetch nothing, passes go on as backstop; health is degraded',
      async (t) => {
        // Workers read the partition by its own name.
        await pool.query('ALTER TABLE pgboss.job_common RENAME TO put_away')
        await backstops(t, pool, 2)
        await degraded(demo)
        await pool.query('ALTER TABLE pgboss.put_away RENAME TO job_common')
        await until(
          'a pass by its job again',
          async () => {
            const found = await pool.query(
              `SELECT FROM service_ops.poll_run WHERE poller = 'message_poller' AND outcome IN ('ran', 'late')
                AND run_id > (SELECT max(run_id) FROM service_ops.poll_run WHERE outcome = 'backstop')`,
            )
            return (found.rowCount ?? 0) > 0
          },
          LIMIT_MS,
        )
      },
    )
  })

  test(
    'with pg-boss stopped inside the leader, passes go on as backstop and health is degraded',
    { skip: skipAsRunner('the demo makes its tables') },
    async (t) => {
      const bosses = startedBosses(t)
      const database = await createDatabase(t)
      const pool = database.pool()
      const runner = createRunner(
        demoConfig(() => undefined),
        {
          settings: readSettings({ ...programEnv(database.url), PORT: '0', HOST: '127.0.0.1' }),
          log: createLog({ service: 'test', instanceId: 'test', level: 'critical' }),
          prepare: (work) => startDemo(work, 1),
        },
      )
      t.after(() => runner.stop())
      await runner.start()
      const passes = `SELECT FROM service_ops.poll_run WHERE outcome IN ('ran', 'late')`
      await until('a pass', async () => ((await pool.query(passes)).rowCount ?? 0) > 0, LIMIT_MS)
      const [boss] = bosses
      assert.ok(boss !== undefined && bosses.length === 1)
      await boss.stop({ graceful: false })
      await backstops(t, pool, 2)
      await degraded(runner)
    },
  )
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

/** Waits for this many passes from now on, and looks that all of them are backstops in time. */
async function backstops(t: TestContext, pool: Pool, count: number): Promise<void> {
  const { rows: newest } = await pool.query<{ run: string }>(
    'SELECT max(run_id) AS run FROM service_ops.poll_run',
  )
  const passes = await until(
    `${count} passes by the backstop`,
    async () => {
      const { rows } = await pool.query<{ outcome: string; late: number }>(
        `SELECT outcome, extract(epoch FROM started_at - due_at)::float AS late
         FROM service_ops.poll_run WHERE poller = 'message_poller' AND run_id > $1 ORDER BY run_id`,
        [newest[0]?.run ?? '0'],
      )
      // The first may have been under way, by its job.
      const ours = rows[0]?.outcome === 'backstop' ? rows : rows.slice(1)
      return ours.length >= count && ours
    },
    LIMIT_MS,
  )
  t.diagnostic(`backstops ${passes.map(({ late }) => late.toFixed(2)).join(' and ')} s after their time`)
  for (const { outcome, late } of passes) {
    assert.equal(outcome, 'backstop')
    assert.ok(late < BACKSTOP_LATEST_S, `${late} s late`)
  }
}

/** Waits until it says that it is degraded, and by its queue; a busy machine may keep the database from it for a moment. */
async function degraded(instance: Parameters<typeof health>[0]): Promise<void> {
  await until('health to be degraded', async () => {
    const { status, body } = await health(instance)
    return status === 200 && body.status === 'degraded' && body.checks.queue.status === 'degraded'
  })
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
