import assert from 'node:assert/strict'
import { test } from 'node:test'
import { withPool } from '../../src/cli/poller.ts'
import { readSettings } from '../../src/config/settings.ts'
import { PoolerUnfit } from '../../src/errors.ts'
import { createDatabase } from '../support/database.ts'
import { pgbouncer, pgbouncerMissing } from '../support/pgbouncer.ts'

const LIMITS = `SELECT current_setting('statement_timeout') AS statement, current_setting('lock_timeout') AS lock,
  current_setting('idle_in_transaction_session_timeout') AS idle, current_setting('transaction_isolation') AS isolation`

const GIVEN = {
  DB_STATEMENT_TIMEOUT_SECONDS: '7',
  DB_LOCK_TIMEOUT_SECONDS: '3',
  DB_IDLE_IN_TRANSACTION_SECONDS: '9',
}

test('what replay and reset do has the limits of the settings at the server, and its isolation', async (t) => {
  const database = await createDatabase(t)
  await database
    .pool()
    .query(`ALTER DATABASE ${database.name} SET default_transaction_isolation = 'repeatable read'`)
  const settings = readSettings({ ...GIVEN, DATABASE_URL: database.url })
  const { rows } = await withPool(settings, (pool) => pool.query(LIMITS, []))
  assert.deepEqual(rows, [{ statement: '7s', lock: '3s', idle: '9s', isolation: 'read committed' }])
})

test('behind a pooler the role must have the isolation', { skip: pgbouncerMissing }, async (t) => {
  const database = await createDatabase(t)
  const through = await pgbouncer(t, database.url, 'transaction')
  const settings = readSettings({ ...GIVEN, DATABASE_URL: through })
  const { rows } = await withPool(settings, (pool) => pool.query('SELECT 1 AS one', []))
  assert.deepEqual(rows, [{ one: 1 }])
  await database
    .pool()
    .query(`ALTER DATABASE ${database.name} SET default_transaction_isolation = 'repeatable read'`)
  const unfit = await pgbouncer(t, database.url, 'transaction')
  await assert.rejects(
    withPool(readSettings({ ...GIVEN, DATABASE_URL: unfit }), (pool) => pool.query('SELECT 1', [])),
    PoolerUnfit,
  )
})
