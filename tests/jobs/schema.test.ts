import assert from 'node:assert/strict'
import { test } from 'node:test'
import { getRollbackPlans } from 'pg-boss'
import { createPool } from '../../src/db/pool.ts'
import { createBoss, type Boss } from '../../src/jobs/boss.ts'
import { BOSS_SCHEMA_VERSION, bossSchemaVersion, migrateBoss } from '../../src/jobs/schema.ts'
import { SchemaIncompatible } from '../../src/errors.ts'
import { createLog } from '../../src/telemetry/log.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { skipAsRunner } from '../support/programWay.ts'

const limits = { statementTimeoutMs: 10_000, lockTimeoutMs: 5_000, idleInTransactionMs: 10_000 }

function bossOn(database: TestDatabase): Boss & { readonly end: () => Promise<void> } {
  const pool = createPool({
    url: database.url,
    applicationName: 'tidemark:test',
    connectTimeoutMs: 5_000,
    max: 3,
    limits,
  })
  const log = createLog({ service: 'test', instanceId: 'test', sink: { write: () => undefined } })
  const boss = createBoss({ pool, log, instanceId: 'test' })
  const end = async (): Promise<void> => {
    await boss.stop()
    await pool.end()
  }
  return Object.assign(boss, { end })
}

const withBoss = skipAsRunner('its databases have pg-boss’s schema')

test(
  'a database without pg-boss has no version, and a boss refuses to start on it',
  { skip: withBoss },
  async (t) => {
    const database = await createDatabase(t)
    assert.equal(await bossSchemaVersion(await database.client()), null)
    const boss = bossOn(database)
    t.after(boss.end)
    await assert.rejects(boss.start(), (error) => error instanceof SchemaIncompatible && error.found === null)
  },
)

test('migrateBoss installs once, and again does nothing', { skip: withBoss }, async (t) => {
  const client = await (await createDatabase(t)).client()
  assert.deepEqual(await migrateBoss(client), { from: null, to: BOSS_SCHEMA_VERSION })
  assert.deepEqual(await migrateBoss(client), { from: BOSS_SCHEMA_VERSION, to: BOSS_SCHEMA_VERSION })
})

test('an older schema is refused by a boss and brought up by migrateBoss', { skip: withBoss }, async (t) => {
  const database = await createDatabase(t)
  const client = await database.client()
  await migrateBoss(client)
  await client.query(getRollbackPlans('pgboss', BOSS_SCHEMA_VERSION))
  const from = await bossSchemaVersion(client)
  assert.ok(from !== null && from < BOSS_SCHEMA_VERSION)
  const boss = bossOn(database)
  t.after(boss.end)
  await assert.rejects(boss.start(), SchemaIncompatible)
  assert.deepEqual(await migrateBoss(client), { from, to: BOSS_SCHEMA_VERSION })
  await boss.start()
  assert.equal(boss.health().status, 'ok')
})

test('a newer schema is left alone and worked on: that is a rollback of the code', async (t) => {
  const database = await createDatabase(t)
  const client = await database.client()
  await migrateBoss(client)
  await client.query('UPDATE pgboss.version SET version = version + 1')
  assert.deepEqual(await migrateBoss(client), { from: BOSS_SCHEMA_VERSION + 1, to: BOSS_SCHEMA_VERSION + 1 })
  const boss = bossOn(database)
  t.after(boss.end)
  await boss.start()
  assert.equal(boss.health().status, 'ok')
})

test('a migration that fails leaves the client outside of any transaction', { skip: withBoss }, async (t) => {
  const client = await (await createDatabase(t)).client()
  // pg-boss's own script meets a type that it wants to make.
  await client.query("CREATE SCHEMA pgboss; CREATE TYPE pgboss.job_state AS ENUM ('x')")
  await assert.rejects(migrateBoss(client))
  const { rows } = await client.query<{ alone: boolean }>('SELECT now() = statement_timestamp() AS alone')
  assert.equal(rows[0]?.alone, true)
})
