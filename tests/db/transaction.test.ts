import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createPool } from '../../src/db/pool.ts'
import type { Pool, PoolClient } from '../../src/db/pool.ts'
import { withClient, withTransaction } from '../../src/db/transaction.ts'
import { CommitRolledBack } from '../../src/errors.ts'
import { createDatabase } from '../support/database.ts'
import type { TestDatabase } from '../support/database.ts'
import type { Scope } from '../support/scope.ts'
import { until } from '../support/until.ts'

async function setUp(t: Scope, statementTimeoutMs = 20_000): Promise<{ pool: Pool; database: TestDatabase }> {
  const database = await createDatabase(t, { migrated: false })
  const limits = { statementTimeoutMs, lockTimeoutMs: 3_000, idleInTransactionMs: 10_000 }
  const pool = createPool({
    url: database.url,
    applicationName: 't',
    connectTimeoutMs: 5_000,
    limits,
    max: 1,
  })
  t.after(() => pool.end())
  await pool.query('CREATE TABLE note (text text PRIMARY KEY)')
  return { pool, database }
}

const write = async (client: PoolClient, text: string): Promise<void> => {
  await client.query('INSERT INTO note VALUES ($1)', [text])
}

async function notes(pool: Pool): Promise<string[]> {
  const { rows } = await pool.query<{ text: string }>('SELECT text FROM note ORDER BY text')
  return rows.map(({ text }) => text)
}

async function pidOf(client: Pick<PoolClient, 'query'>): Promise<number | undefined> {
  return (await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')).rows[0]?.pid
}

describe('a transaction', () => {
  test('commits, returns the value and gives the connection back', async (t) => {
    const { pool } = await setUp(t)
    const pid = await withTransaction(pool, async (client) => {
      await write(client, 'kept')
      return pidOf(client)
    })
    assert.deepEqual(await notes(pool), ['kept'])
    assert.equal(await withClient(pool, pidOf), pid)
  })

  test('an error inside writes nothing and destroys the connection', async (t) => {
    const { pool } = await setUp(t)
    const before = await withClient(pool, pidOf)
    const boom = new Error('boom')
    const run = withTransaction(pool, async (client) => {
      await write(client, 'lost')
      throw boom
    })
    await assert.rejects(run, boom)
    assert.deepEqual(await notes(pool), [])
    assert.notEqual(await withClient(pool, pidOf), before)
  })

  test('that is ended inside is noticed, and its connection serves nobody else', async (t) => {
    const { pool } = await setUp(t)
    const before = await withTransaction(pool, pidOf)
    for (const end of ['COMMIT', 'ROLLBACK'])
      await assert.rejects(
        withTransaction(pool, (client) => client.query(end)),
        (error) => error instanceof CommitRolledBack && /ended inside/.test(error.message),
      )
    assert.notEqual(await withTransaction(pool, pidOf), before)
  })

  test('the commit of a failed transaction is noticed when its error was swallowed', async (t) => {
    const { pool } = await setUp(t)
    const run = withTransaction(pool, async (client) => {
      await write(client, 'lost')
      await client.query('SELECT 1 / 0').catch(() => undefined)
    })
    await assert.rejects(run, CommitRolledBack)
    assert.deepEqual(await notes(pool), [])
  })

  test('a backend killed in the middle rejects and ends neither the process nor the pool', async (t) => {
    const { pool, database } = await setUp(t)
    const killer = await database.client()
    const run = withTransaction(pool, async (client) => {
      await write(client, 'lost')
      await killer.query('SELECT pg_terminate_backend($1)', [await pidOf(client)])
      await write(client, 'never')
    })
    await assert.rejects(run)
    assert.deepEqual(await notes(pool), [])
  })

  test('an abort destroys the connection in the middle of a statement and rejects with its reason', async (t) => {
    const { pool, database } = await setUp(t)
    const watcher = await database.client()
    const abort = new AbortController()
    const reason = new Error('drained')
    const run = withTransaction(
      pool,
      async (client) => {
        await write(client, 'lost')
        await client.query('SELECT pg_sleep(600)')
      },
      { signal: abort.signal },
    )
    const sleeping = `FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'SELECT pg_sleep%' AND state = 'active'`
    await until(
      'the statement to run',
      async () => (await watcher.query(`SELECT ${sleeping}`)).rowCount === 1,
    )
    abort.abort(reason)
    await assert.rejects(run, reason)
    assert.deepEqual(await notes(pool), [])
    await watcher.query(`SELECT pg_cancel_backend(pid) ${sleeping}`)
  })

  test('is not begun when the abort came first', async (t) => {
    const { pool } = await setUp(t)
    const reason = new Error('too late')
    const run = withTransaction(pool, () => assert.fail('it ran'), { signal: AbortSignal.abort(reason) })
    await assert.rejects(run, reason)
  })

  test('settings and isolation hold for this transaction alone', async (t) => {
    const { pool } = await setUp(t)
    const look = `SELECT current_setting('lock_timeout') AS lock, current_setting('transaction_isolation') AS isolation`
    const inside = await withTransaction(pool, (client) => client.query(look), {
      isolation: 'serializable',
      local: { lock_timeout: '7s', 'tidemark.note': `it's` },
    })
    assert.deepEqual(inside.rows, [{ lock: '7s', isolation: 'serializable' }])
    assert.deepEqual((await pool.query(look)).rows, [{ lock: '3s', isolation: 'read committed' }])
  })

  test('a borrower that leaves a transaction open does not pass it on', async (t) => {
    const { pool } = await setUp(t)
    const pid = await withClient(pool, async (client) => {
      await client.query('BEGIN')
      return pidOf(client)
    })
    assert.notEqual(await withClient(pool, pidOf), pid)
  })
})
