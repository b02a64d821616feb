import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Client } from 'pg'
import { CODE_SCHEMA_VERSION, migrate, missingObjects, schemaStatus } from '../../src/db/migrate.ts'
import type { MigrateOptions, MigrateResult } from '../../src/db/migrate.ts'
import { MigrationFailed, MigrationLockBusy, RepairRefused } from '../../src/errors.ts'
import type { Log } from '../../src/telemetry/log.ts'
import { createDatabase } from '../support/database.ts'
import type { TestDatabase } from '../support/database.ts'
import { until } from '../support/until.ts'
import { recordedLog } from './recordedLog.ts'

const OUR_KEY = `hashtextextended('tidemark:migrate', 0)`
const LIBRARY_KEY = '-8525285245963000605'

async function run(database: TestDatabase, options: Partial<MigrateOptions> = {}): Promise<MigrateResult> {
  return migrate({
    url: database.url,
    log: recordedLog(),
    lockWaitMs: 20_000,
    statementTimeoutMs: 20_000,
    ...options,
  })
}

/** Everything in the schema that a second run could change: relations, functions, applied files, invariants, window. */
async function inventory(client: Client): Promise<unknown> {
  const { rows } = await client.query(`
    SELECT array(SELECT c.oid || ':' || c.relname || ':' || c.xmin FROM pg_class c
                  WHERE relnamespace = 'service_ops'::regnamespace ORDER BY 1) AS relations,
           array(SELECT p.oid || ':' || p.xmin FROM pg_proc p WHERE pronamespace = 'service_ops'::regnamespace ORDER BY 1) AS functions,
           array(SELECT m::text || m.xmin FROM service_ops.migrations m ORDER BY 1) AS applied,
           array(SELECT i.name || i.xmin FROM service_ops.invariant i ORDER BY 1) AS invariants,
           array(SELECT w::text FROM service_ops.schema_window w ORDER BY 1) AS window`)
  return rows
}

describe('migrating', () => {
  test('an empty database gets the whole schema, and this release fits it', async (t) => {
    const database = await createDatabase(t, { migrated: false })
    const client = await database.client()
    assert.equal((await schemaStatus(client)).fits, false)
    const log = recordedLog()
    const { applied, missing } = await run(database, { log })
    assert.equal(applied.length, CODE_SCHEMA_VERSION)
    assert.deepEqual(missing, [])
    const status = await schemaStatus(client)
    assert.deepEqual([status.version, status.fits], [CODE_SCHEMA_VERSION, true])
    assert.deepEqual(log.names, ['migration_lock_acquired', 'migrations_applied', 'migration_lock_released'])
    assert.equal(log.of('migration_lock_acquired')[0]?.statement_timeout_s, 20)
  })

  test('a second run changes nothing', async (t) => {
    const database = await createDatabase(t, { migrated: false })
    const client = await database.client()
    await run(database)
    const before = await inventory(client)
    const log = recordedLog()
    assert.deepEqual((await run(database, { log })).applied, [])
    assert.deepEqual(await inventory(client), before)
    assert.deepEqual(log.names, ['migration_lock_acquired', 'migrations_skipped', 'migration_lock_released'])
  })

  test('three at once: one applies, the others find nothing to do', async (t) => {
    const database = await createDatabase(t, { migrated: false })
    const results = await Promise.all([run(database), run(database), run(database)])
    assert.deepEqual(results.map(({ applied }) => applied.length).sort(), [0, 0, CODE_SCHEMA_VERSION])
  })

  test('a table `migrations` of the application is left alone', async (t) => {
    const database = await createDatabase(t, { migrated: false })
    const client = await database.client()
    await client.query(`CREATE TABLE public.migrations (id integer PRIMARY KEY, name text, hash text);
                        INSERT INTO public.migrations SELECT n, 'theirs', 'x' FROM generate_series(0, 50) n`)
    await run(database)
    const { rows } = await client.query('SELECT count(*)::int AS n, min(hash) AS hash FROM public.migrations')
    assert.deepEqual(rows, [{ n: 51, hash: 'x' }])
    assert.equal((await schemaStatus(client)).fits, true)
  })

  test('`after` runs under the lock with the search path of the session, and its failure is a failure', async (t) => {
    const database = await createDatabase(t, { migrated: false })
    const other = await database.client()
    let seen: unknown
    await run(database, {
      after: async (client) => {
        const { rows } = await client.query(`SELECT current_setting('search_path') AS path`)
        const tried = await other.query(`SELECT pg_try_advisory_lock(${OUR_KEY}) AS got`)
        seen = [rows, tried.rows]
      },
    })
    assert.deepEqual(seen, [[{ path: '"$user", public' }], [{ got: false }]])
    const log = recordedLog()
    const boom = new Error('boom')
    await assert.rejects(run(database, { log, after: () => Promise.reject(boom) }), boom)
    assert.equal(log.of('migration_failed')[0]?.text, 'boom')
    const freed = await other.query(`SELECT pg_try_advisory_lock(${OUR_KEY}) AS got`)
    assert.deepEqual(freed.rows, [{ got: true }])
  })

  test('an edited file is refused', async (t) => {
    const database = await createDatabase(t, { migrated: false })
    const client = await database.client()
    await run(database)
    await client.query(`UPDATE service_ops.migrations SET hash = 'edited' WHERE id = 2`)
    await assert.rejects(run(database), /Hashes don't match for migrations '2_/)
    await assert.rejects(run(database, { repair: true }), /2_\w+\.sql failed: the file has changed/)
  })

  test('a failing file is named with its SQLSTATE, and what came before it stays', async (t) => {
    const database = await createDatabase(t, { migrated: false })
    const client = await database.client()
    await client.query('CREATE SCHEMA service_ops; CREATE VIEW service_ops.background_task AS SELECT 1 AS id')
    const log = recordedLog()
    const error = await run(database, { log }).then(
      () => assert.fail('it succeeded'),
      (thrown: unknown) => thrown,
    )
    assert.ok(error instanceof MigrationFailed)
    assert.match(error.file ?? '', /^2_/)
    assert.deepEqual(log.of('migration_failed')[0]?.names, [error.file])
    await client.query('DROP VIEW service_ops.background_task')
    assert.equal((await run(database)).applied.length, CODE_SCHEMA_VERSION - 1)
  })
})

describe('a lock on a table', () => {
  for (const repair of [false, true]) {
    test(`in the way of a file is waited for briefly, and the file is tried again (repair: ${repair})`, async (t) => {
      const database = await createDatabase(t, { migrated: false })
      const holder = await database.client()
      await run(database)
      await holder.query('DELETE FROM service_ops.migrations WHERE id >= 2')
      await holder.query('BEGIN; LOCK TABLE service_ops.background_task')
      const watcher = await database.client()
      const waiting = `SELECT FROM pg_locks WHERE relation = 'service_ops.background_task'::regclass AND NOT granted`
      const done = run(database, { repair, lockTimeoutMs: 1_000 })
      await until('the file to wait', async () => (await watcher.query(waiting)).rowCount === 1)
      await until('the file to give up', async () => (await watcher.query(waiting)).rowCount === 0)
      await holder.query('ROLLBACK')
      assert.equal((await done).applied.length, CODE_SCHEMA_VERSION - (repair ? 0 : 1))
    })
  }
})

describe('the migration lock', () => {
  for (const [name, key] of [
    ['tidemark:migrate', OUR_KEY],
    ['postgres-migrations', LIBRARY_KEY],
  ] as const) {
    test(`held by somebody else (${name}): busy in time, with the holder named, nothing changed`, async (t) => {
      const database = await createDatabase(t, { migrated: false })
      const holder = await database.client()
      await holder.query(`SET application_name = 'somebody'; SELECT pg_advisory_lock(${key})`)
      const { rows } = await holder.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')
      const pid = rows[0]?.pid
      const log = recordedLog()
      const error = await run(database, { log, lockWaitMs: 150 }).then(
        () => assert.fail('it succeeded'),
        (thrown: unknown) => thrown,
      )
      assert.ok(error instanceof MigrationLockBusy)
      assert.deepEqual([error.holder?.pid, error.holder?.application], [pid, 'somebody'])
      assert.equal(error.holder?.howToEnd, `SELECT pg_terminate_backend(${pid})`)
      assert.match(error.message, /somebody, connected for \d+ s/)
      assert.deepEqual(log.names, ['migration_lock_busy'])
      assert.equal(log.of('migration_lock_busy')[0]?.pid, pid)
      assert.deepEqual((await schemaStatus(holder)).version, null)
      await holder.query(`SELECT pg_advisory_unlock(${key})`)
      assert.equal((await run(database)).applied.length, CODE_SCHEMA_VERSION)
    })
  }

  test('given back while we wait: we go on and say how long it took', async (t) => {
    const database = await createDatabase(t, { migrated: false })
    const holder = await database.client()
    await holder.query(`SELECT pg_advisory_lock(${OUR_KEY})`)
    const log = recordedLog()
    const giveBack: Pick<Log, 'event'> = {
      event(event, msg, fields) {
        log.event(event, msg, fields)
        if (event === 'migration_lock_busy') void holder.query(`SELECT pg_advisory_unlock(${OUR_KEY})`)
      },
    }
    const { applied, waitedMs } = await run(database, { log: giveBack })
    assert.equal(applied.length, CODE_SCHEMA_VERSION)
    assert.ok(waitedMs > 0)
    assert.equal(log.of('migration_lock_acquired')[0]?.waited_ms, waitedMs)
  })
})

describe('repair', () => {
  test('makes again what was dropped, leaves data alone, and names what is missing before', async (t) => {
    const database = await createDatabase(t, { migrated: false })
    const client = await database.client()
    await run(database)
    await client.query(`INSERT INTO service_ops.leader_term (task_name, term) VALUES ('p', 7);
                        DROP TABLE service_ops.background_task_leader, service_ops.invariant CASCADE;
                        DROP FUNCTION service_ops.verify()`)
    const gone = await missingObjects(client)
    assert.ok(gone.includes('service_ops.background_task_leader'))
    assert.ok(gone.includes('service_ops.verify()'))
    const plain = await run(database)
    assert.deepEqual([plain.applied, plain.missing], [[], gone])
    const { applied, missing } = await run(database, { repair: true })
    assert.deepEqual([applied.length, missing], [CODE_SCHEMA_VERSION, []])
    assert.deepEqual(await missingObjects(client), [])
    const { rows } = await client.query(
      `SELECT term, (SELECT count(*) > 0 FROM service_ops.invariant) AS synced FROM service_ops.leader_term`,
    )
    assert.deepEqual(rows, [{ term: '7', synced: true }])
  })

  test('mends a lost table of applied files', async (t) => {
    const database = await createDatabase(t, { migrated: false })
    const client = await database.client()
    await run(database)
    await client.query('DROP TABLE service_ops.migrations')
    await run(database, { repair: true })
    assert.deepEqual((await run(database)).applied, [])
    assert.deepEqual(await missingObjects(client), [])
  })

  test('of a newer schema by older code is refused', async (t) => {
    const database = await createDatabase(t, { migrated: false })
    const client = await database.client()
    await run(database)
    await client.query(`INSERT INTO service_ops.migrations (id, name, hash) VALUES (99, 'newer', 'x')`)
    await assert.rejects(run(database, { repair: true }), RepairRefused)
    assert.deepEqual((await run(database)).applied, [])
  })
})
