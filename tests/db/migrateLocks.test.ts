import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Client } from 'pg'
import { isBusy, migrate, missingObjects } from '../../src/db/migrate.ts'
import type { MigrateOptions, MigrateResult } from '../../src/db/migrate.ts'
import { isConnectionError } from '../../src/db/sqlstate.ts'
import { MigrationFailed } from '../../src/errors.ts'
import { createDatabase } from '../support/database.ts'
import type { TestDatabase } from '../support/database.ts'
import type { Scope } from '../support/scope.ts'
import { until } from '../support/until.ts'
import { recordedLog } from './recordedLog.ts'
import { relay } from '../support/relay.ts'

async function run(database: TestDatabase, options: Partial<MigrateOptions> = {}): Promise<MigrateResult> {
  return migrate({
    url: database.url,
    log: recordedLog(),
    lockWaitMs: 20_000,
    statementTimeoutMs: 20_000,
    ...options,
  })
}

const INBOX = 'service_ops.integration_inbox'

/** A database whose newest file is not applied yet, and somebody who is about to be in its way. */
async function world(t: Scope, application: string) {
  const database = await createDatabase(t, { migrated: false })
  await run(database)
  const watcher = await database.client()
  await watcher.query(`
    DELETE FROM service_ops.migrations WHERE id >= 6;
    DELETE FROM service_ops.schema_window WHERE schema_version >= 6;
    ALTER TABLE ${INBOX} DROP COLUMN suspect CASCADE, DROP COLUMN interruptions_in_a_row CASCADE`)
  const holder = await database.client()
  await holder.query(`SET application_name = '${application}'`)
  await hold(holder)
  return { database, holder, watcher, pid: await pidOf(holder) }
}

/** As a handler's transaction does. */
async function hold(client: Client): Promise<void> {
  await client.query(`BEGIN; LOCK TABLE ${INBOX} IN ROW EXCLUSIVE MODE`)
}

async function pidOf(client: Client): Promise<number | undefined> {
  return (await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')).rows[0]?.pid
}

async function somebodyWaits(client: Client): Promise<boolean> {
  const text = `SELECT FROM pg_locks WHERE relation = '${INBOX}'::regclass AND NOT granted`
  return (await client.query(text)).rowCount === 1
}

test('a wait for the migration lock ends when the database falls silent, as the loss of its connection', async (t) => {
  const database = await createDatabase(t)
  const holder = await database.client()
  await holder.query(`SELECT pg_advisory_lock(hashtextextended('tidemark:migrate', 0))`)
  const way = await relay(t, database.url)
  await way.open()
  const log = recordedLog()
  const waiting = run({ ...database, url: way.url }, { log, lockWaitMs: 60_000 })
  waiting.catch(() => undefined)
  await until('it to wait', () => log.of('migration_lock_busy').length === 1)
  way.freeze()
  await assert.rejects(waiting, isConnectionError)
  assert.deepEqual(log.of('migration_failed'), [])
})

describe('files run again on a whole schema', () => {
  test('wait for nobody who works, and nobody waits for them', async (t) => {
    const database = await createDatabase(t, { migrated: false })
    await run(database)
    const handler = await database.client()
    const { rows } = await handler.query<{ tables: string }>(
      `SELECT string_agg(c.oid::regclass::text, ', ') AS tables FROM pg_class c
        WHERE relnamespace = 'service_ops'::regnamespace AND relkind = 'r'`,
    )
    await handler.query(`BEGIN; LOCK TABLE ${rows[0]?.tables ?? ''} IN ROW EXCLUSIVE MODE`)
    const log = recordedLog()
    const { missing } = await run(database, { repair: true, log, lockTimeoutMs: 500, lockWaitMs: 0 })
    assert.deepEqual([missing, log.of('migration_lock_busy')], [[], []])
    await handler.query('ROLLBACK')
  })
})

describe('a file that needs the lock of a table in use', () => {
  for (const repair of [false, true]) {
    test(`is tried with ever longer waits while handlers have it, and says who (repair: ${repair})`, async (t) => {
      const { database, holder, watcher, pid } = await world(t, 'tidemark:somewhere')
      const log = recordedLog()
      const done = run(database, { repair, log, lockTimeoutMs: 600 })
      const [one, two] = await until('two tries', () => {
        const said = log.of('migration_lock_busy')
        return said.length === 2 && said
      })
      await until('the third', () => somebodyWaits(watcher))
      await holder.query('ROLLBACK')
      assert.deepEqual((await done).missing, [])
      for (const line of [one, two]) {
        assert.deepEqual(
          [line?.table, line?.pid, line?.application, line?.how_to_end],
          [INBOX, pid, 'tidemark:somewhere', `SELECT pg_terminate_backend(${pid})`],
        )
        assert.match(line?.file ?? '', /^6_/)
      }
      assert.ok((one?.waited_ms ?? 0) >= 600 && (two?.waited_ms ?? 0) >= 1_200)
      const { rows } = await watcher.query(
        'SELECT FROM service_ops.schema_window WHERE schema_version = 6 AND oldest_code = 5',
      )
      assert.equal(rows.length, 1)
    })
  }

  test('asks for nothing while a transaction has it that nobody knows the end of, and goes on when that ends', async (t) => {
    const { database, holder, watcher, pid } = await world(t, 'somebody')
    const log = recordedLog()
    const done = run(database, { log, lockTimeoutMs: 600 })
    await until('the first try to end', () => log.of('migration_lock_busy').length === 1)
    const since = Date.now()
    await until('a while', async () => {
      assert.equal(await somebodyWaits(watcher), false, 'who comes next has to wait for nobody')
      return Date.now() - since > 1_500
    })
    await holder.query('ROLLBACK')
    assert.deepEqual((await done).missing, [])
    assert.deepEqual(
      log.of('migration_lock_busy').map((line) => line.pid),
      [pid],
    )
  })

  test('is given up as busy, with who has it, when that takes too long; the next run goes on from there', async (t) => {
    const { database, holder, watcher, pid } = await world(t, 'somebody')
    const log = recordedLog()
    const error = await run(database, { log, lockTimeoutMs: 600, lockWaitMs: 0 }).then(
      () => assert.fail('it succeeded'),
      (thrown: unknown) => thrown,
    )
    assert.ok(error instanceof MigrationFailed && isBusy(error))
    assert.match(
      error.message,
      new RegExp(`^migration 6_\\w+\\.sql failed: ${INBOX} is locked by pid ${pid} \\(somebody\\)`),
    )
    assert.ok(error.message.endsWith(`to end it: SELECT pg_terminate_backend(${pid})`), error.message)
    assert.deepEqual(log.of('migration_failed'), [], 'nothing is wrong that a person must mend')
    await holder.query('ROLLBACK')
    await run(database)
    assert.deepEqual(await missingObjects(watcher), [])
  })
})
