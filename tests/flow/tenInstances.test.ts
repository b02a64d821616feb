import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CODE_SCHEMA_VERSION } from '../../src/db/migrate.ts'
import { tidemark } from '../cli/tidemark.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { startInstance, type Instance } from '../support/instance.ts'
import { asRunner } from '../support/programWay.ts'
import type { Scope } from '../support/scope.ts'
import { until } from '../support/until.ts'

const INSTANCES = 10
const CONFIG = `export default {
  pollers: { orders: { source: { table: 'orders', id: 'id', createdAt: 'at' }, every: '1s' } },
  processors: { billing: { from: 'orders', contract: 'external', concurrency: 2, handle() {} } },
}`
const ORDERS =
  'CREATE TABLE orders (id int PRIMARY KEY, at timestamptz NOT NULL DEFAULT now()); INSERT INTO orders VALUES (1)'

function startMany(t: Scope, database: TestDatabase, env: Record<string, string> = {}): Promise<Instance[]> {
  const options = { databaseUrl: database.url, config: CONFIG, env: { DB_POOL_MAX: '10', ...env } }
  return Promise.all(Array.from({ length: INSTANCES }, () => startInstance(t, options)))
}

async function readiness(instance: Instance): Promise<[number, unknown]> {
  const response = await fetch(`${instance.address}/ready`)
  return [response.status, await response.json()]
}

/** Each file was applied by one of them, none failed, and none met a deadlock. */
async function eachAppliedOnce(instances: readonly Instance[], database: TestDatabase): Promise<void> {
  const applied = instances.flatMap((instance) =>
    instance.of('migrations_applied').map((line) => line['names']),
  )
  assert.equal(applied.flat().length, CODE_SCHEMA_VERSION, 'each file once')
  assert.deepEqual(
    instances.flatMap((instance) => [...instance.of('migration_failed'), ...instance.of('start_failed')]),
    [],
  )
  assert.deepEqual(
    instances.flatMap((instance) => instance.lines.filter(({ msg }) => msg.includes('deadlock'))),
    [],
  )
  const { rows } = await database.pool().query(
    `SELECT (SELECT count(*)::int FROM service_ops.migrations WHERE id > 0) AS ours, (SELECT count(*)::int FROM pgboss.version) AS boss,
            (SELECT deadlocks::int FROM pg_stat_database WHERE datname = current_database()) AS deadlocks`,
  )
  assert.deepEqual(rows, [{ ours: CODE_SCHEMA_VERSION, boss: 1, deadlocks: 0 }])
}

test('ten instances at once on an empty database, while an outsider holds the migration lock: all wait, then all are ready', async (t) => {
  const database = await createDatabase(t, { migrated: false })
  const outsider = await database.client()
  await outsider.query(
    `${ORDERS}; CREATE TABLE public.migrations (id int PRIMARY KEY, name text, hash text); INSERT INTO public.migrations VALUES (0, 'theirs', 'x');
     SET application_name = 'somebody else'; SELECT pg_advisory_lock(hashtextextended('tidemark:migrate', 0))`,
  )
  const { rows } = await outsider.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')
  const pid = rows[0]?.pid
  const instances = await startMany(t, database, { MIGRATION_LOCK_WAIT_SECONDS: '1' })
  for (const instance of instances) {
    const busy = await instance.said('migration_lock_busy', { pid })
    assert.equal(busy['application'], 'somebody else')
    // Whose session it is shows to everybody, and since when only to pg_read_all_stats.
    if (!asRunner()) assert.equal(typeof busy['age_s'], 'number')
    assert.equal(busy['how_to_end'], `SELECT pg_terminate_backend(${pid})`)
    await instance.said('schema_incompatible')
    assert.deepEqual(await readiness(instance), [503, { status: 'schema_incompatible' }])
    assert.equal((await fetch(`${instance.address}/live`)).status, 200)
  }
  const verb = await tidemark(['migrate'], {
    env: { DATABASE_URL: database.url, MIGRATION_LOCK_WAIT_SECONDS: '1' },
  })
  assert.equal(verb.code, 75)
  const since = asRunner() ? '' : ', connected for \\d+ s'
  assert.match(verb.stderr, new RegExp(`pid ${pid} \\(somebody else${since}\\) holds it`))

  await outsider.query(`SELECT pg_advisory_unlock(hashtextextended('tidemark:migrate', 0))`)
  for (const instance of instances) await instance.said('ready')
  // Ten processes that start may keep the database from answering one of them in time, which is then not ready for a moment.
  const isReady = async (instance: Instance): Promise<boolean> => {
    const [status, body] = await readiness(instance)
    if (status === 200) assert.deepEqual(body, { status: 'ready' })
    return status === 200
  }
  for (const instance of instances)
    await until(`${instance.id} to be ready`, () => isReady(instance), 120_000)
  await eachAppliedOnce(instances, database)
  const done = `SELECT FROM service_ops.integration_inbox WHERE status = 'DONE'`
  const pool = database.pool()
  await until('the order to be done', async () => (await pool.query(done)).rowCount === 1, 120_000)
  const theirs = await pool.query('SELECT id, name, hash FROM public.migrations')
  assert.deepEqual(theirs.rows, [{ id: 0, name: 'theirs', hash: 'x' }])
})

test('ten instances at once on an empty database are all ready, each migration applied once, no deadlock', async (t) => {
  const database = await createDatabase(t, { migrated: false })
  await database.pool().query(ORDERS)
  const instances = await startMany(t, database)
  for (const instance of instances) await instance.said('ready')
  await eachAppliedOnce(instances, database)
})

test('RUN_MIGRATIONS=0: one clear message, not ready, and on by itself once somebody migrates; twice changes nothing', async (t) => {
  const database = await createDatabase(t, { migrated: false })
  await database.pool().query(ORDERS)
  const instance = await startInstance(t, {
    databaseUrl: database.url,
    config: CONFIG,
    env: { RUN_MIGRATIONS: '0' },
  })
  const said = await instance.said('schema_incompatible')
  assert.match(said.msg, /^CRITICAL: .*run `tidemark migrate`/)
  await until('not ready', async () => (await readiness(instance))[0] === 503)
  assert.deepEqual(await readiness(instance), [503, { status: 'schema_incompatible' }])
  const env = { DATABASE_URL: database.url }
  assert.match((await tidemark(['migrate'], { env })).stdout, /^applied: 1_/)
  await instance.said('ready')
  // A look between two halves of the migration tells what is still missing then; nothing is told twice.
  const reasons = instance.of('schema_incompatible').map(({ msg }) => msg)
  assert.equal(new Set(reasons).size, reasons.length, reasons.join('\n'))
  const again = await tidemark(['migrate'], { env })
  assert.deepEqual([again.code, again.stdout.trim()], [0, 'nothing to apply'])
})

test('code one version older runs on a newer schema that serves it, and refuses one that does not; pg-boss’s likewise', async (t) => {
  const database = await createDatabase(t)
  const pool = database.pool()
  await pool.query(ORDERS)
  assert.equal((await tidemark(['migrate'], { env: { DATABASE_URL: database.url } })).code, 0)
  const start = (env: Record<string, string> = {}): Promise<Instance> =>
    startInstance(t, { databaseUrl: database.url, config: CONFIG, env })
  const end = async (instance: Instance): Promise<void> => {
    instance.kill('SIGTERM')
    assert.equal((await instance.exited).code, 0)
  }
  const newer = CODE_SCHEMA_VERSION + 1
  // What the next release leaves behind: a file of its own, a wider window, and a newer pg-boss.
  await pool.query(`INSERT INTO service_ops.migrations (id, name, hash) VALUES (${newer}, 'newer', 'x');
                    INSERT INTO service_ops.schema_window VALUES (${newer}, ${CODE_SCHEMA_VERSION});
                    UPDATE pgboss.version SET version = version + 1`)
  const compatible = await start()
  await compatible.said('ready')
  assert.equal(compatible.of('schema_checked')[0]?.['version'], newer)
  await end(compatible)

  await pool.query(
    `UPDATE service_ops.schema_window SET oldest_code = ${newer} WHERE schema_version = ${newer}`,
  )
  const refused = await start()
  const { msg } = await refused.said('schema_incompatible')
  assert.match(
    msg,
    new RegExp(
      `at version ${newer} and serves releases from ${newer} on; this one is ${CODE_SCHEMA_VERSION}: deploy a newer`,
    ),
  )
  await until('not ready', async () => (await readiness(refused))[0] === 503)
  const unfit = await tidemark(['migrate'], { env: { DATABASE_URL: database.url } })
  assert.deepEqual([unfit.code, /deploy a newer/.test(unfit.stderr)], [1, true], unfit.stderr)
  // It goes on looking, but a migration that changed nothing is not run again and again.
  await pool.query(`INSERT INTO service_ops.schema_window VALUES (${newer + 1}, ${newer + 1})`)
  await until('the next look', () => refused.of('schema_incompatible').length === 2)
  assert.equal(refused.of('migration_lock_acquired').length, 1)
  await end(refused)
  await pool.query(`DELETE FROM service_ops.schema_window WHERE schema_version = ${newer + 1}`)

  await pool.query(`UPDATE service_ops.schema_window SET oldest_code = ${CODE_SCHEMA_VERSION} WHERE schema_version = ${newer};
                    UPDATE pgboss.version SET version = version - 2`)
  const old = await start({ RUN_MIGRATIONS: '0' })
  const boss = await old.said('schema_incompatible')
  assert.match(boss.msg, /schema pgboss is at version \d+ and this release needs \d+: run `tidemark migrate`/)
  await until('not ready', async () => (await readiness(old))[0] === 503)
  await pool.query('UPDATE pgboss.version SET version = version + 1')
  await old.said('ready')
})
