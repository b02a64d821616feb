import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Client } from 'pg'
import { createPool } from '../../src/db/pool.ts'
import { migrate } from '../../src/db/migrate.ts'
import { PermissionMissing, RowsHidden } from '../../src/errors.ts'
import { createBoss } from '../../src/jobs/boss.ts'
import { mayMaintain } from '../../src/jobs/jobRows.ts'
import { migrateBoss } from '../../src/jobs/schema.ts'
import { createLog } from '../../src/telemetry/log.ts'
import { requireAllRows, requireGrants } from '../../src/tables/permission.ts'
import { tidemark } from '../cli/tidemark.ts'
import { createDatabase } from '../support/database.ts'
import { startInstance } from '../support/instance.ts'
import { applyRoles, ROLES_SQL } from '../support/roles.ts'
import type { Scope } from '../support/scope.ts'
import { recordedLog } from './recordedLog.ts'

const SCHEMAS = ['service_ops', 'pgboss']
const log = createLog({ service: 'test', instanceId: 'test', level: 'critical' })

/** A database that a superuser has migrated until now, and the three roles on it. */
async function world(t: Scope) {
  const database = await createDatabase(t)
  const sql = database.pool()
  await migrateBoss(await database.client())
  await sql.query(`CREATE SCHEMA shop; CREATE TABLE shop.orders (id int PRIMARY KEY, at timestamptz NOT NULL DEFAULT now());
                   CREATE TABLE shop.secrets (id int)`)
  await applyRoles(database.url)
  // A run of all tests as these roles gives them everything that a test makes.
  await sql.query('REVOKE ALL ON ALL TABLES IN SCHEMA shop FROM tidemark_owner, tidemark_runner')
  const roles = await applyRoles(database.url, ['shop.orders'])
  const connected = async (url: string): Promise<Client> => {
    const client = new Client({ connectionString: url })
    await client.connect()
    t.after(() => client.end())
    return client
  }
  return { database, sql, roles, connected }
}

test('roles.sql over a database that one role has owned: everything is the owner’s, and it may be run again', async (t) => {
  const { database, sql, roles } = await world(t)
  await applyRoles(database.url)
  const { rows } = await sql.query(
    `
    SELECT c.relname AS name FROM pg_class c
     WHERE c.relnamespace::regnamespace::text = ANY ($1::text[]) AND c.relowner <> 'tidemark_owner'::regrole
    UNION ALL
    SELECT p.proname FROM pg_proc p
     WHERE p.pronamespace::regnamespace::text = ANY ($1::text[]) AND p.proowner <> 'tidemark_owner'::regrole
    UNION ALL
    SELECT t.typname FROM pg_type t
     WHERE t.typnamespace::regnamespace::text = ANY ($1::text[]) AND t.typowner <> 'tidemark_owner'::regrole`,
    [SCHEMAS],
  )
  assert.deepEqual(rows, [])
  // A release that has something to migrate finds nothing in its way.
  const told = recordedLog()
  await migrate({
    url: roles.owner,
    log: told,
    lockWaitMs: 30_000,
    statementTimeoutMs: 120_000,
    repair: true,
  })
  assert.equal(told.of('migrations_applied').length, 1)
})

test('roles.sql as a role that may make roles and owns the database, which is no superuser', async (t) => {
  const fresh = await createDatabase(t, { migrated: false })
  const own = fresh.name.replace('test_', 'role_')
  // Under names of its own: the roles are the server's, and others have made them.
  const text = ROLES_SQL.replaceAll('tidemark_', `${own}_`)
  const owner = `${own}_owner`
  const admin = await fresh.client()
  await admin.query(`CREATE ROLE ${own}_admin CREATEROLE; ALTER DATABASE ${fresh.name} OWNER TO ${own}_admin`)
  t.after(async () => {
    await admin.query(`
      RESET ROLE;
      ALTER DATABASE ${fresh.name} OWNER TO CURRENT_USER;
      DROP SCHEMA IF EXISTS service_ops, pgboss CASCADE`)
    const { rows } = await admin.query<{ name: string }>(
      'SELECT rolname AS name FROM pg_roles WHERE starts_with(rolname, $1)',
      [`${own}_`],
    )
    const names = rows.map(({ name }) => name).join(', ')
    await admin.query(`DROP OWNED BY ${names}; DROP ROLE ${names}`)
  })
  await admin.query(`SET ROLE ${own}_admin`)
  await admin.query(text)
  await admin.query(text)
  await admin.query('RESET ROLE')
  const { rows } = await admin.query<{ owner: string }>(
    `SELECT DISTINCT nspowner::regrole::text AS owner FROM pg_namespace WHERE nspname = ANY ($1::text[])`,
    [SCHEMAS],
  )
  assert.deepEqual(rows, [{ owner }])
})

test('the runner may do what an instance needs and no more, the reader may only read', async (t) => {
  const { roles, connected } = await world(t)
  const [runner, reader] = [await connected(roles.runner), await connected(roles.reader)]
  await requireGrants(runner, SCHEMAS)
  await runner.query('SELECT count(*) FROM shop.orders')
  const refused = async (client: Client, text: string): Promise<void> => {
    await assert.rejects(client.query(text), /permission denied|must be owner/, text)
  }
  for (const text of [
    'INSERT INTO shop.orders VALUES (1)',
    'SELECT * FROM shop.secrets',
    'CREATE TABLE service_ops.mine (id int)',
    'CREATE SCHEMA mine',
    'DROP TABLE service_ops.integration_inbox',
    'TRUNCATE service_ops.integration_inbox',
    `INSERT INTO service_ops.schema_window (schema_version, oldest_code) VALUES (99, 99)`,
    'DELETE FROM service_ops.migrations',
    'UPDATE service_ops.invariant SET query = query',
    'SELECT service_ops.tell_pause()',
  ])
    await refused(runner, text)
  for (const text of [
    'UPDATE service_ops.background_task SET paused = true',
    'DELETE FROM pgboss.job',
    'SELECT * FROM shop.secrets',
    'CREATE TABLE service_ops.mine (id int)',
    `SELECT service_ops.record_action('pause', 'x')`,
  ])
    await refused(reader, text)
  const { rows } = await reader.query<{ name: string; ok: boolean | null }>(
    'SELECT name, ok FROM service_ops.verify()',
  )
  assert.deepEqual(
    rows.filter(({ ok }) => ok !== true),
    [],
  )
  await reader.query(`SELECT * FROM service_ops.trace('none'), pgboss.job`)
})

test('what `start` and `doctor` name when rights are lacking are lines of roles.sql', async (t) => {
  const { sql, roles, connected } = await world(t)
  const runner = await connected(roles.runner)
  await sql.query(`
    REVOKE ALL ON SCHEMA service_ops, pgboss FROM tidemark_runner;
    REVOKE ALL ON ALL TABLES IN SCHEMA service_ops, pgboss FROM tidemark_runner`)
  await assert.rejects(requireGrants(runner, SCHEMAS), (error) => {
    assert.ok(error instanceof PermissionMissing)
    assert.equal(error.missing.length, 4)
    for (const { grant } of error.missing) assert.ok(ROLES_SQL.includes(`\n${grant};\n`), grant)
    return true
  })
})

test('row-level security of a table of ours is refused at the start, with the remedy', async (t) => {
  const { sql, roles, connected } = await world(t)
  const runner = await connected(roles.runner)
  await sql.query('ALTER TABLE service_ops.integration_inbox ENABLE ROW LEVEL SECURITY')
  const config = 'export default { jobs: { nightly: { cron: "0 3 * * *", handle() {} } } }'
  const instance = await startInstance(t, { databaseUrl: roles.runner, config })
  assert.equal((await instance.exited).code, 1)
  const said = instance.of('start_failed')[0]?.msg ?? ''
  const remedy = 'ALTER TABLE service_ops.integration_inbox DISABLE ROW LEVEL SECURITY'
  assert.ok(said.includes('service_ops.integration_inbox may hide its rows') && said.includes(remedy), said)
  await assert.rejects(requireAllRows(runner, SCHEMAS), RowsHidden)
  await sql.query(remedy)
  await requireAllRows(runner, SCHEMAS)
})

test('nothing to migrate needs no right to migrate', async (t) => {
  const { roles } = await world(t)
  const { code, stderr } = await tidemark(['migrate'], { env: { DATABASE_URL: roles.runner } })
  assert.deepEqual([code, /up to date/.test(stderr)], [0, true], stderr)
})

test('pg-boss’s upkeep goes on where its statistics have no table for the day and the role may make none', async (t) => {
  const { sql, roles } = await world(t)
  const boss = async (url: string, maintains?: boolean) => {
    const pool = createPool({
      url,
      applicationName: 'tidemark:test',
      connectTimeoutMs: 5_000,
      limits: { statementTimeoutMs: 10_000, lockTimeoutMs: 5_000, idleInTransactionMs: 10_000 },
      max: 3,
    })
    const made = createBoss({
      pool,
      log,
      instanceId: 'test',
      maintains: maintains ?? (await mayMaintain(pool)),
    })
    t.after(async () => {
      await made.stop()
      await pool.end()
    })
    await made.start()
    return made
  }
  const { rows } = await sql.query<{ drop: string }>(
    `SELECT format('DROP TABLE %s', inhrelid::regclass) AS drop FROM pg_inherits WHERE inhparent = 'pgboss.queue_stats'::regclass`,
  )
  for (const { drop } of rows) await sql.query(drop)
  // As two days later: what the migration made was for that day and the next.
  await assert.rejects((await boss(roles.runner, true)).pg.supervise(), /must be owner|permission denied/)
  await (await boss(roles.runner)).pg.supervise()
  await (await boss(roles.owner)).pg.supervise()
  const { rows: made } = await sql.query(
    `SELECT FROM pg_inherits WHERE inhparent = 'pgboss.queue_stats'::regclass`,
  )
  assert.equal(made.length, 2)
})
