import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { createPool } from '../../src/db/pool.ts'
import { wakeOff, wakeOn } from '../../src/ingest/wakeTrigger.ts'
import { createDatabase } from '../support/database.ts'
import { startInstance } from '../support/instance.ts'
import { until } from '../support/until.ts'

/** By the clock alone a row waits for half a minute on average. */
const CONFIG = `export default {
  pollers: { arrivals: { source: { table: 'arrival', id: 'id', createdAt: 'at' }, every: '60s' } },
  processors: { reader: { from: 'arrivals', contract: 'external', async handle() {} } },
}`

/** Measured: 5 to 10 ms on an idle machine. This catches a row that waited for the clock. */
const WOKEN_MS = 10_000

async function world(t: TestContext) {
  const database = await createDatabase(t)
  const pool = createPool({
    url: database.url,
    applicationName: 'test',
    connectTimeoutMs: 5_000,
    limits: { statementTimeoutMs: 30_000, lockTimeoutMs: 30_000, idleInTransactionMs: 0 },
    max: 12,
  })
  t.after(() => pool.end())
  await pool.query(
    `CREATE TABLE arrival (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp())`,
  )
  await pool.query('CREATE INDEX ON arrival (at, id)')
  return {
    pool,
    start: async () => {
      const instance = await startInstance(t, { databaseUrl: database.url, config: CONFIG })
      await instance.said('ready')
      return instance
    },
    asleep: async () => {
      await until('the poller to sleep', async () => {
        const { rows } = await pool.query<{ is_asleep: boolean }>(
          'SELECT is_asleep FROM service_ops.wake_status',
        )
        return rows[0]?.is_asleep
      })
    },
    /** How long a row takes from its commit to its end. */
    arrives: async (): Promise<number> => {
      const { rows } = await pool.query<{ id: string }>('INSERT INTO arrival DEFAULT VALUES RETURNING id')
      const at = performance.now()
      await until('the row to be done', async () => {
        const found = await pool.query(
          `SELECT FROM service_ops.integration_inbox WHERE message_id = $1 AND status = 'DONE'`,
          [rows[0]?.id],
        )
        return found.rowCount === 1
      })
      return performance.now() - at
    },
  }
}

test('a row is done at once with `wake on`, and again after the leader was killed in its sleep', async (t) => {
  const { pool, start, asleep, arrives } = await world(t)
  const first = await start()
  await first.said('task_started_as_leader', { task: 'arrivals' })
  assert.equal((await wakeOn(pool, 'arrivals')).changed, true)
  await asleep()
  const took = await arrives()
  t.diagnostic(`a row took ${Math.round(took)} ms`)
  assert.ok(took < WOKEN_MS)

  const second = await start()
  await asleep()
  first.kill('SIGKILL')
  await second.said('leader_took_over', { task: 'arrivals' })
  await asleep()
  const after = await arrives()
  t.diagnostic(`and ${Math.round(after)} ms after the takeover`)
  assert.ok(after < WOKEN_MS)
})

test('a flood of single inserts makes a handful of notifications, and is taken in', async (t) => {
  const { pool, start, asleep } = await world(t)
  await start()
  await wakeOn(pool, 'arrivals')
  await asleep()
  let heard = 0
  const listener = await pool.connect()
  listener.on('notification', () => (heard += 1))
  await listener.query('LISTEN tidemark_wake')
  const inserts = Array.from({ length: WRITERS }, async () => {
    for (let i = 0; i < INSERTS; i += 1) await pool.query('INSERT INTO arrival DEFAULT VALUES')
  })
  await Promise.all(inserts)
  await until('all to be done', async () => {
    const { rows } = await pool.query<{ done: number }>(
      `SELECT count(*)::int AS done FROM service_ops.integration_inbox WHERE status = 'DONE'`,
    )
    return rows[0]?.done === WRITERS * INSERTS
  })
  await asleep()
  listener.release(true)
  t.diagnostic(`${heard} notifications of ${WRITERS * INSERTS} inserts`)
  assert.ok(heard > 0 && heard < (WRITERS * INSERTS) / 10)
})

test('`wake off` while it runs leaves passes to the clock, and no session behind', async (t) => {
  const { pool, start, asleep } = await world(t)
  await start()
  await wakeOn(pool, 'arrivals')
  await asleep()
  await wakeOff(pool, 'arrivals')
  await until('the flag to be gone', async () => {
    const { rows } = await pool.query<{ is_on: boolean; is_asleep: boolean }>(
      'SELECT is_on, is_asleep FROM service_ops.wake_status',
    )
    return rows[0]?.is_on === false && !rows[0].is_asleep
  })
})

/** Few enough for a busy machine, and far more than may notify. */
const WRITERS = 4
const INSERTS = 250
