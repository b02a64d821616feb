import assert from 'node:assert/strict'
import { test } from 'node:test'
import { findPooling, unlimited } from '../../src/db/pooler.ts'
import { PoolerUnfit } from '../../src/errors.ts'
import { createDatabase } from '../support/database.ts'
import { pgbouncer, pgbouncerMissing } from '../support/pgbouncer.ts'

const LOOK = { connectTimeoutMs: 5_000 }

test('PostgreSQL itself is no pooler', async (t) => {
  const { url } = await createDatabase(t, { migrated: false })
  assert.equal(await findPooling(url, LOOK), 'none')
})

for (const mode of ['session', 'transaction'] as const) {
  test(`PgBouncer in ${mode} mode is known for it`, { skip: pgbouncerMissing }, async (t) => {
    const { url } = await createDatabase(t, { migrated: false })
    assert.equal(await findPooling(await pgbouncer(t, url, mode), LOOK), mode)
  })
}

test('one in statement mode is refused with the remedy', { skip: pgbouncerMissing }, async (t) => {
  const { url } = await createDatabase(t, { migrated: false })
  const through = await pgbouncer(t, url, 'statement')
  await assert.rejects(
    findPooling(through, LOOK),
    (error) => error instanceof PoolerUnfit && error.message.includes('pool_mode = transaction'),
  )
})

test('the limits that a role lacks are named, and an isolation that breaks the proofs is refused', async (t) => {
  const database = await createDatabase(t, { migrated: false })
  const pool = database.pool()
  const role = `pooled_${database.name}`
  await pool.query(`CREATE ROLE ${role} LOGIN PASSWORD 'x'; ALTER ROLE ${role} SET lock_timeout = '5s'`)
  t.after(() => pool.query(`DROP ROLE ${role}`))
  const url = new URL(database.url)
  url.username = role
  url.password = 'x'
  assert.deepEqual(await unlimited(url.href, LOOK), [
    'idle_in_transaction_session_timeout',
    'statement_timeout',
  ])
  await pool.query(`ALTER ROLE ${role} SET default_transaction_isolation = 'repeatable read'`)
  await assert.rejects(
    unlimited(url.href, LOOK),
    (error) =>
      error instanceof PoolerUnfit &&
      error.message.includes(`ALTER ROLE ${role} SET default_transaction_isolation = 'read committed'`),
  )
})
