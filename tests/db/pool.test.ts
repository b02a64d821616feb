import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createPool } from '../../src/db/pool.ts'
import type { Pool, PoolOptions } from '../../src/db/pool.ts'
import { errorClass } from '../../src/db/sqlstate.ts'
import { createDatabase } from '../support/database.ts'
import type { TestDatabase } from '../support/database.ts'
import type { Scope } from '../support/scope.ts'
import { until } from '../support/until.ts'

async function setUp(
  t: Scope,
  options: Partial<PoolOptions> = {},
): Promise<{ pool: Pool; database: TestDatabase }> {
  const database = await createDatabase(t, { migrated: false })
  const pool = createPool({
    url: database.url,
    applicationName: 'tidemark:i-1',
    connectTimeoutMs: 5_000,
    limits: { statementTimeoutMs: 20_000, lockTimeoutMs: 3_000, idleInTransactionMs: 4_000 },
    max: 1,
    ...options,
  })
  t.after(() => pool.end())
  return { pool, database }
}

async function pidOf(pool: Pool): Promise<number | undefined> {
  return (await pool.query<{ pid: number }>('SELECT pg_backend_pid() AS pid', [])).rows[0]?.pid
}

describe('the pool', () => {
  test('sets limits, isolation and name on every connection', async (t) => {
    const { pool } = await setUp(t)
    const { rows } = await pool.query(
      `SELECT current_setting('statement_timeout') AS statement, current_setting('lock_timeout') AS lock,
              current_setting('idle_in_transaction_session_timeout') AS idle, current_setting('application_name') AS name,
              current_setting('default_transaction_isolation') AS isolation`,
    )
    const expected = {
      statement: '20s',
      lock: '3s',
      idle: '4s',
      name: 'tidemark:i-1',
      isolation: 'read committed',
    }
    assert.deepEqual(rows, [expected])
  })

  for (const ownSession of [true, false])
    test(`plans a prepared statement ${ownSession ? 'once on each connection' : 'anew where sessions are not its own'}`, async (t) => {
      const { pool } = await setUp(t, { ownSession })
      for (const n of [1, 2, 3]) {
        const { rows } = await pool.prepared<{ n: number }>('twice', 'SELECT 2 * $1::integer AS n', [n])
        assert.deepEqual(rows, [{ n: 2 * n }])
      }
      const { rows } = await pool.query('SELECT name FROM pg_prepared_statements')
      assert.deepEqual(rows, ownSession ? [{ name: 'twice' }] : [])
    })

  test('plans a prepared statement anew when told to, for the table as it is then', async (t) => {
    const { pool } = await setUp(t)
    await pool.query('CREATE TABLE grown (id integer)')
    await pool.query('CREATE INDEX ON grown (id)')
    await pool.query('ALTER TABLE grown SET (autovacuum_enabled = false)')
    await pool.query("SET plan_cache_mode = 'force_generic_plan'")
    const find = () => pool.prepared('find', 'SELECT id FROM grown WHERE id = $1', [7])
    const plan = async () => JSON.stringify((await pool.query('EXPLAIN EXECUTE find(7)')).rows)
    await find()
    assert.match(await plan(), /Bitmap|Index|Seq/)
    await pool.query('INSERT INTO grown VALUES (1)')
    await pool.query('ANALYZE grown')
    await find()
    assert.match(await plan(), /Seq Scan/)
    await pool.query('INSERT INTO grown SELECT generate_series(1, 50000)')
    await find()
    assert.match(await plan(), /Seq Scan/)
    pool.replan()
    await find()
    assert.match(await plan(), /Index/)
  })

  for (const [why, what] of [
    ['somebody forgot it', 'DEALLOCATE ALL'],
    ['its result has another type', 'ALTER TABLE typed ALTER COLUMN id TYPE bigint'],
  ] as const)
    test(`a prepared statement fails once at most when ${why}`, async (t) => {
      const { pool } = await setUp(t)
      await pool.query('CREATE TABLE typed (id integer)')
      const find = () => pool.prepared('find', 'SELECT id FROM typed WHERE id = $1', [7])
      await find()
      await pool.query(what)
      await assert.rejects(find())
      assert.equal((await find()).rowCount, 0)
    })

  test('tells of every statement that is asked for, and whether it was answered', async (t) => {
    const told: (string | boolean)[] = []
    const onAsk = () => {
      told.push('asked')
      return (answered: boolean) => void told.push(answered)
    }
    const { pool } = await setUp(t, { onAsk })
    await pool.query('SELECT 1')
    await assert.rejects(pool.query('SELECT 1 FROM missing'))
    assert.deepEqual(told, ['asked', true, 'asked', false])
  })

  test('keeps options of the address, and its own name over the one there', async (t) => {
    const database = await createDatabase(t, { migrated: false })
    const url = `${database.url}?application_name=other&options=-c%20work_mem%3D1MB%20-c%20lock_timeout%3D1`
    const limits = { statementTimeoutMs: 0, lockTimeoutMs: 3_000, idleInTransactionMs: 0 }
    const pool = createPool({ url, applicationName: 'tidemark:i-2', connectTimeoutMs: 5_000, limits, max: 1 })
    t.after(() => pool.end())
    const { rows } = await pool.query(
      `SELECT current_setting('work_mem') AS mem, current_setting('lock_timeout') AS lock, current_setting('application_name') AS name`,
    )
    assert.deepEqual(rows, [{ mem: '1MB', lock: '3s', name: 'tidemark:i-2' }])
  })

  test('sends no startup options behind a pooler', async (t) => {
    const { pool } = await setUp(t, { startupOptions: false })
    const { rows } = await pool.query(`SELECT current_setting('statement_timeout') AS statement`)
    assert.deepEqual(rows, [{ statement: '0' }])
  })

  test('keeps a connection that refused one statement, and drops one in doubt', async (t) => {
    const { pool } = await setUp(t)
    const first = await pidOf(pool)
    await assert.rejects(pool.query('SELECT 1 / $1::int', [0]), { code: '22012' })
    assert.equal(await pidOf(pool), first)
    await assert.rejects(pool.query('BEGIN; SELECT 1 / 0'), { code: '22012' })
    const second = await pidOf(pool)
    assert.notEqual(second, first)
    await pool.query('BEGIN')
    assert.notEqual(await pidOf(pool), second)
  })

  test('a backend killed under a connection in use ends neither the process nor the pool', async (t) => {
    const broken: unknown[] = []
    const { pool, database } = await setUp(t, { onConnectionError: (error) => broken.push(error) })
    const client = await pool.connect()
    const { rows } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')
    const other = await database.client()
    await other.query('SELECT pg_terminate_backend($1)', [rows[0]?.pid])
    await until('the error to be heard', () => broken.length > 0)
    assert.equal(errorClass(broken[0]), 'connection')
    await assert.rejects(client.query('SELECT 1'))
    client.release(true)
    assert.notEqual(await pidOf(pool), rows[0]?.pid)
  })

  test('a backend killed while idle is replaced', async (t) => {
    const { pool, database } = await setUp(t)
    const pid = await pidOf(pool)
    const other = await database.client()
    await other.query('SELECT pg_terminate_backend($1)', [pid])
    await until('the pool to drop it', () => pool.counts.total === 0)
    assert.notEqual(await pidOf(pool), pid)
  })

  test('counts connections and those who wait, and says when waiting took too long', async (t) => {
    const { pool } = await setUp(t, { connectTimeoutMs: 1_500 })
    const client = await pool.connect()
    const waiting = pool.connect().then(
      () => 'got one',
      (error: unknown) => errorClass(error),
    )
    assert.deepEqual(pool.counts, { total: 1, idle: 0, waiting: 1 })
    assert.equal(await waiting, 'pool_exhausted')
    client.release()
    assert.deepEqual(pool.counts, { total: 1, idle: 1, waiting: 0 })
    await Promise.all([pool.end(), pool.end()])
  })
})
