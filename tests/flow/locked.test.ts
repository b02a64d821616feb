import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { startInstance } from '../support/instance.ts'
import { until } from '../support/until.ts'

const CONFIG = `export default {
  pollers: { arrivals: { source: { table: 'arrival', id: 'id', createdAt: 'at' }, every: '1s' } },
  processors: { reader: { from: 'arrivals', contract: 'external', handle() {} } },
}`

test('a table of heartbeats that somebody locks looks like no outage and costs no lead', async (t) => {
  const database = await createDatabase(t, { migrated: false })
  const pool = database.pool()
  await pool.query('CREATE TABLE arrival (id bigint PRIMARY KEY, at timestamptz NOT NULL DEFAULT now())')
  const env = { LEADER_HEARTBEAT_SECONDS: '0.5', LEADER_LEASE_SECONDS: '4' }
  const instance = await startInstance(t, { databaseUrl: database.url, config: CONFIG, env })
  await instance.said('task_started_as_leader', { task: 'arrivals' })
  const other = await pool.connect()
  try {
    await other.query('BEGIN; LOCK TABLE service_ops.runner_instance IN ACCESS EXCLUSIVE MODE')
    // Longer than a lease, and than the silence after which connections are broken.
    const renewed = `SELECT FROM service_ops.background_task_leader WHERE renewed_at > $1::timestamptz + interval '6 s'`
    const { rows } = await pool.query<{ at: string }>('SELECT clock_timestamp()::text AS at')
    await until('the lease to be renewed all the time', async () => {
      assert.deepEqual([...instance.of('database_lost'), ...instance.of('leader_lost')], [])
      return (await pool.query(renewed, [rows[0]?.at])).rowCount === 1
    })
  } finally {
    await other.query('ROLLBACK')
    other.release()
  }
  assert.deepEqual([...instance.of('database_lost'), ...instance.of('leader_lost')], [])
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
