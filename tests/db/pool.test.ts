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

  test('tells of statements that were answered, and of no others', async (t) => {
    let answers = 0
    const { pool } = await setUp(t, { onAnswer: () => void (answers += 1) })
    await pool.query('SELECT 1')
    assert.equal(answers, 1)
    await assert.rejects(pool.query('SELECT 1 FROM missing'))
    assert.equal(answers, 1)
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
