import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { startInstance } from '../support/instance.ts'
import { until } from '../support/until.ts'

const CONFIG = `export default {
  pollers: { arrivals: { source: { table: 'arrival', id: 'id', createdAt: 'at' }, every: '1s' } },
  processors: { reader: { from: 'arrivals', contract: 'external', handle() {} } },
}`

/**
 * A heartbeat waits for a lock for half of this, while renewals wait for its connection. Two loops do so on the two
 * connections of leases: a look at the database by the same way would be too late more often than not.
 */
const HEARTBEAT_S = 4
/** A lease is trusted for 2 s less: time for three heartbeats, and for a busy machine. */
const LEASE_S = 14

/**
 * Of all looks, as many may find what must not be: a busy machine is sometimes slower than it may be. Without a connection
 * of its own the pulse finds an outage in a third of them; without a limit of its own a heartbeat waits too long in half.
 */
const BY_CHANCE = 0.2

test('a table of heartbeats that somebody locks looks like no outage and costs no lead', async (t) => {
  const database = await createDatabase(t, { migrated: false })
  const pool = database.pool()
  await pool.query('CREATE TABLE arrival (id bigint PRIMARY KEY, at timestamptz NOT NULL DEFAULT now())')
  const env = {
    LEADER_HEARTBEAT_SECONDS: String(HEARTBEAT_S),
    LEADER_LEASE_SECONDS: String(LEASE_S),
    DB_LOCK_TIMEOUT_SECONDS: '30',
  }
  const instance = await startInstance(t, { databaseUrl: database.url, config: CONFIG, env })
  await instance.said('task_started_as_leader', { task: 'arrivals' })
  const other = await pool.connect()
  try {
    await other.query('BEGIN; LOCK TABLE service_ops.runner_instance IN ACCESS EXCLUSIVE MODE')
    // Longer than a lease, and than the silence after which connections are broken.
    const text = `
      SELECT EXISTS (SELECT FROM service_ops.background_task_leader
                      WHERE renewed_at > $1::timestamptz + interval '${LEASE_S + 1} s') AS renewed,
             (SELECT max(extract(epoch FROM clock_timestamp() - query_start))::float FROM pg_stat_activity
               WHERE application_name = $2 AND wait_event_type = 'Lock'
                 AND query ~ 'INSERT INTO service_ops.runner_instance') AS beat_waits_s`
    const { rows } = await pool.query<{ at: string }>('SELECT clock_timestamp()::text AS at')
    const found = { looks: 0, away: 0, waits: 0, longWaits: 0 }
    await until(
      'the lease to be renewed all the time',
      async () => {
        assert.deepEqual(instance.of('leader_lost'), [])
        const { status } = await fetch(`${instance.address}/ready`)
        const values = [rows[0]?.at, `tidemark:${instance.id}`]
        const [look] = (await pool.query<{ renewed: boolean; beat_waits_s: number | null }>(text, values))
          .rows
        found.looks += 1
        if (status !== 200) found.away += 1
        const waits = look?.beat_waits_s ?? 0
        if (waits > 0) found.waits += 1
        if (waits > HEARTBEAT_S / 2 + 1) found.longWaits += 1
        return look?.renewed
      },
      120_000,
    )
    t.diagnostic(`${JSON.stringify(found)}, ${instance.of('database_lost').length} outages said`)
    assert.ok(found.away < found.looks * BY_CHANCE, 'it looks like no outage')
    assert.ok(found.waits > 0, 'a heartbeat waited, or this test has shown nothing')
    assert.ok(found.longWaits < found.looks * BY_CHANCE, 'who waits lets go in time for the leases')
  } finally {
    await other.query('ROLLBACK')
    other.release()
  }
  assert.deepEqual(instance.of('leader_lost'), [])
  instance.kill('SIGTERM')
  assert.equal((await instance.exited).code, 0)
})

test('a source that somebody locks keeps its poller from starting, not the instance, and it starts by itself', async (t) => {
  const database = await createDatabase(t, { migrated: false })
  const pool = database.pool()
  await pool.query('CREATE TABLE arrival (id bigint PRIMARY KEY, at timestamptz NOT NULL DEFAULT now())')
  const other = await pool.connect()
  try {
    await other.query('BEGIN; LOCK TABLE arrival IN ACCESS EXCLUSIVE MODE')
    const env = { DB_LOCK_TIMEOUT_SECONDS: '0.2' }
    const instance = await startInstance(t, { databaseUrl: database.url, config: CONFIG, env })
    await instance.said('ready')
    const { reason } = await instance.said('task_failed_to_start', { task: 'arrivals' })
    assert.match(String(reason), /arrival: it could not be looked at in time: .*lock/)
    await other.query('ROLLBACK')
    await until('it to start when asked, as soon as it hears', async () => {
      await pool.query(`SELECT pg_notify('tidemark_poll', 'arrivals')`)
      return instance.of('task_started_as_leader', { task: 'arrivals' }).length > 0
    })
  } finally {
    other.release()
  }
})
