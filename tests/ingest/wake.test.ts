import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { createPool } from '../../src/db/pool.ts'
import { PermissionMissing, PollerUnknown, WakeRefused } from '../../src/errors.ts'
import { createSleeper } from '../../src/ingest/sleeper.ts'
import type { Sleeper } from '../../src/ingest/sleeper.ts'
import { wakeOff, wakeOn } from '../../src/ingest/wakeTrigger.ts'
import { createDatabase } from '../support/database.ts'
import { grants, plainRole } from '../support/plainRole.ts'
import { until } from '../support/until.ts'

/** Two pollers of one table, and one of a view. */
async function world(t: TestContext) {
  const database = await createDatabase(t)
  const poolOf = (url: string) => {
    const pool = createPool({
      url,
      applicationName: 'tidemark:test',
      connectTimeoutMs: 5_000,
      limits: { statementTimeoutMs: 30_000, lockTimeoutMs: 30_000, idleInTransactionMs: 0 },
      max: 5,
    })
    t.after(() => pool.end())
    return pool
  }
  const pool = poolOf(database.url)
  await pool.query(`
    CREATE TABLE source (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note text);
    CREATE VIEW seen AS SELECT * FROM source;
    INSERT INTO service_ops.background_task (id, task_name, kind, led, source_table, config_hash, release) VALUES
      (1, 'one', 'poller', true, 'public.source', '', ''), (2, 'two', 'poller', true, 'public.source', '', ''),
      (3, 'viewer', 'poller', true, 'public.seen', '', ''), (4, 'worker', 'processor', false, NULL, '', '')`)
  const heard: string[] = []
  const listener = await database.client()
  listener.on('notification', ({ payload }) => heard.push(payload ?? ''))
  const sleeperOf = (poller: string): Sleeper => {
    const sleeper = createSleeper({
      db: pool,
      session: { url: database.url },
      applicationName: 'tidemark:test',
      connectTimeoutMs: 5_000,
      poller,
    })
    t.after(() => sleeper.close())
    return sleeper
  }
  return {
    database,
    pool,
    poolOf,
    sleeperOf,
    /** Notifications since the last call, of what has been committed by now. */
    heard: async (): Promise<string[]> => {
      if (heard.length === 0 && !(await listens())) await listener.query('LISTEN tidemark_wake')
      await listener.query('SELECT 1')
      return heard.splice(0)
    },
    writer: () => database.client(),
  }
  async function listens(): Promise<boolean> {
    return ((await listener.query('SELECT pg_listening_channels()')).rowCount ?? 0) > 0
  }
}

const INSERT = `INSERT INTO source (note) VALUES ('a')`
const TRACES = `SELECT (SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'tidemark%')::int AS triggers,
                       (SELECT count(*) FROM pg_proc WHERE proname LIKE 'tidemark%')::int AS functions`

test('a statement notifies once while the poller sleeps, whatever its rows, and never while it is awake', async (t) => {
  const { pool, sleeperOf, heard, writer } = await world(t)
  await wakeOn(pool, 'one')
  const sleeper = sleeperOf('one')
  await heard()
  await pool.query(INSERT)
  assert.deepEqual(await heard(), [])
  assert.equal(await sleeper.fallAsleep(), true)
  await pool.query(INSERT)
  assert.deepEqual(await heard(), ['one'])
  await pool.query(`INSERT INTO source (note) SELECT 'b' FROM generate_series(1, 500)`)
  assert.deepEqual(await heard(), ['one'])
  const client = await writer()
  await client.query(`BEGIN; ${INSERT}; ${INSERT}; COMMIT`)
  assert.deepEqual(await heard(), ['one'])
  await client.query(`BEGIN; ${INSERT}; ROLLBACK`)
  assert.deepEqual(await heard(), [])
  sleeper.wakeUp()
  await until('silence again', async () => {
    await pool.query(INSERT)
    return (await heard()).length === 0
  })
})

test('the poller is not asleep before a writer that inserted in silence has ended, and later ones notify meanwhile', async (t) => {
  const { pool, sleeperOf, heard, writer } = await world(t)
  await wakeOn(pool, 'one')
  await heard()
  const silent = await writer()
  await silent.query(`BEGIN ISOLATION LEVEL REPEATABLE READ; ${INSERT}`)
  let asleep: boolean | undefined
  const sleeper = sleeperOf('one')
  const falling = sleeper.fallAsleep().then((got) => (asleep = got))
  await until('the later writer to notify', async () => {
    await pool.query(INSERT)
    return (await heard()).length > 0
  })
  assert.equal(asleep, undefined)
  await silent.query('COMMIT')
  await falling
  assert.equal(asleep, true)
  assert.deepEqual(await heard(), [])
  // The row of the silent one is there for the look that comes now.
  assert.ok(((await pool.query('SELECT FROM source')).rowCount ?? 0) > 1)
})

test('a wait for a writer that stays is broken off at once, and can be begun again', async (t) => {
  const { pool, sleeperOf, heard, writer } = await world(t)
  await wakeOn(pool, 'one')
  await heard()
  const silent = await writer()
  await silent.query(`BEGIN; ${INSERT}`)
  const sleeper = sleeperOf('one')
  const first = sleeper.fallAsleep()
  sleeper.wakeUp()
  assert.equal(await first, false)
  const second = sleeper.fallAsleep()
  await silent.query('COMMIT')
  assert.equal(await second, true)
})

test('a savepoint that is rolled back, and a writer that ends, leave no lock behind', async (t) => {
  const { pool, sleeperOf, heard, writer } = await world(t)
  await wakeOn(pool, 'one')
  await heard()
  const client = await writer()
  await client.query(`BEGIN; SAVEPOINT s; ${INSERT}; ROLLBACK TO s`)
  assert.equal(await sleeperOf('one').fallAsleep(), true)
  await client.query('COMMIT')
})

test('a prepared writer is waited for until it is committed', async (t) => {
  const { pool, sleeperOf, heard, writer } = await world(t)
  await wakeOn(pool, 'one')
  await heard()
  const client = await writer()
  await client.query(`BEGIN; ${INSERT}; PREPARE TRANSACTION 'silent'`)
  let asleep = false
  const falling = sleeperOf('one')
    .fallAsleep()
    .then((got) => (asleep = got))
  await until('another to notify', async () => {
    await pool.query(INSERT)
    return (await heard()).length > 0
  })
  assert.equal(asleep, false)
  await client.query(`COMMIT PREPARED 'silent'`)
  assert.equal(await falling, true)
})

test('a new leader ends the session of one that sleeps on', async (t) => {
  const { pool, sleeperOf } = await world(t)
  await wakeOn(pool, 'one')
  const former = sleeperOf('one')
  assert.equal(await former.fallAsleep(), true)
  assert.equal(await sleeperOf('one').fallAsleep(), true)
  await until('the former to know', async () => !(await former.isSound()))
})

test('without the trigger a poller does not sleep, and one whose trigger goes does not go on', async (t) => {
  const { pool, sleeperOf } = await world(t)
  const sleeper = sleeperOf('one')
  assert.equal(await sleeper.fallAsleep(), false)
  await wakeOn(pool, 'one')
  assert.equal(await sleeper.fallAsleep(), true)
  await wakeOff(pool, 'one')
  assert.equal(await sleeper.isSound(), false)
  assert.equal(await sleeper.fallAsleep(), false)
})

test('two pollers of a table have a trigger each; `wake off` removes its own and every trace of it', async (t) => {
  const { pool } = await world(t)
  assert.equal((await wakeOn(pool, 'one')).changed, true)
  assert.equal((await wakeOn(pool, 'two')).changed, true)
  assert.equal((await wakeOn(pool, 'one')).changed, false)
  assert.deepEqual((await pool.query(TRACES)).rows, [{ triggers: 2, functions: 2 }])
  await wakeOff(pool, 'one')
  const on = await pool.query('SELECT poller, is_on FROM service_ops.wake_status ORDER BY id LIMIT 2')
  assert.deepEqual(on.rows, [
    { poller: 'one', is_on: false },
    { poller: 'two', is_on: true },
  ])
  await wakeOff(pool, 'two')
  assert.equal((await wakeOff(pool, 'two')).changed, false)
  assert.deepEqual((await pool.query(TRACES)).rows, [{ triggers: 0, functions: 0 }])
})

test('inserts go on when service_ops is dropped, and the trigger with it', async (t) => {
  const { pool } = await world(t)
  await wakeOn(pool, 'one')
  await pool.query('DROP SCHEMA service_ops CASCADE', [])
  await pool.query(INSERT)
  assert.deepEqual((await pool.query(TRACES)).rows, [{ triggers: 0, functions: 0 }])
})

test('an insert does not fail with its trigger', async (t) => {
  const { pool, database, sleeperOf, writer } = await world(t)
  await wakeOn(pool, 'one')
  assert.equal(await sleeperOf('one').fallAsleep(), true)
  await pool.query('REVOKE EXECUTE ON FUNCTION pg_catalog.pg_notify(text, text) FROM PUBLIC')
  const { role } = await plainRole(t, database)
  await pool.query(`GRANT INSERT ON source TO ${role}`)
  const client = await writer()
  await client.query(`SET ROLE ${role}`)
  await client.query(INSERT)
})

test('what cannot be woken is refused, with the reason and the remedy', async (t) => {
  const { pool, database, poolOf } = await world(t)
  await assert.rejects(wakeOn(pool, 'viewer'), WakeRefused)
  await assert.rejects(wakeOn(pool, 'nobody'), PollerUnknown)
  await assert.rejects(wakeOn(pool, 'worker'), PollerUnknown)
  await assert.rejects(wakeOff(pool, 'nobody'), PollerUnknown)
  const { role, url } = await plainRole(t, database)
  await pool.query(grants(role, 'service_ops'))
  await assert.rejects(wakeOn(poolOf(url), 'one'), (error) => {
    assert.ok(error instanceof PermissionMissing)
    assert.match(error.message, new RegExp(`GRANT TRIGGER ON public.source TO ${role}`))
    assert.match(error.message, new RegExp(`GRANT CREATE ON SCHEMA service_ops TO ${role}`))
    return true
  })
})

test('a partitioned source is woken through its own name', async (t) => {
  const { pool, sleeperOf, heard } = await world(t)
  await pool.query(`
    CREATE TABLE parted (id int, at timestamptz NOT NULL DEFAULT now()) PARTITION BY LIST (id);
    CREATE TABLE parted_rest PARTITION OF parted DEFAULT;
    UPDATE service_ops.background_task SET source_table = 'public.parted' WHERE task_name = 'one'`)
  await wakeOn(pool, 'one')
  await heard()
  assert.equal(await sleeperOf('one').fallAsleep(), true)
  await pool.query('INSERT INTO parted (id) VALUES (1)')
  assert.deepEqual(await heard(), ['one'])
})
