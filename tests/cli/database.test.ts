import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { tidemark } from './tidemark.ts'

describe('tidemark sql', () => {
  test('prints a table, with NULL empty and microseconds kept', async (context) => {
    const { url } = await createDatabase(context)
    const query = `SELECT 1 AS one, NULL AS nothing, timestamptz '2026-01-02 03:04:05.678901+00' AT TIME ZONE 'UTC' AS at`
    const { code, stdout, stderr } = await tidemark(['sql', query], { env: { DATABASE_URL: url } })
    assert.deepEqual([code, stderr], [0, ''])
    assert.equal(stdout, 'one  nothing  at\n1             2026-01-02 03:04:05.678901\n(1 row)\n')
  })

  test('prints JSON with numbers where they are exact', async (context) => {
    const { url } = await createDatabase(context)
    const query = `SELECT count(*) AS n, 9007199254740993 AS big, true AS yes, '{"a":[1]}'::jsonb AS j, 'x' AS t, NULL AS z FROM (SELECT 1) s`
    const { stdout } = await tidemark(['sql', '--json', query], { env: { DATABASE_URL: url } })
    assert.deepEqual(JSON.parse(stdout), [
      { n: 1, big: '9007199254740993', yes: true, j: { a: [1] }, t: 'x', z: null },
    ])
  })

  test('changes nothing, however it is asked', async (context) => {
    const { url, ...database } = await createDatabase(context)
    const pool = database.pool()
    await pool.query('CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)')
    for (const attempt of [
      'DELETE FROM kept',
      'COMMIT; DELETE FROM kept',
      `WITH w AS (SELECT set_config('transaction_read_only', 'off', true)) DELETE FROM kept WHERE (SELECT count(*) FROM w) = 1`,
      'SET TRANSACTION READ WRITE',
    ]) {
      const { code, stderr } = await tidemark(['sql', attempt], { env: { DATABASE_URL: url } })
      assert.equal(code, 1, attempt)
      assert.match(stderr, /^tidemark: DatabaseError: /)
    }
    assert.equal((await pool.query('SELECT FROM kept')).rowCount, 1)
  })

  test('without a query reads statements, over several lines, and stops at the first that fails in a pipe', async (context) => {
    const { url } = await createDatabase(context)
    const env = { DATABASE_URL: url }
    const good = await tidemark(['sql'], { env, stdin: 'SELECT 1\n  AS one;\n\nSELECT 2 AS two' })
    assert.equal(good.code, 0)
    assert.equal(good.stdout, 'one\n1\n(1 row)\ntwo\n2\n(1 row)\n')
    const bad = await tidemark(['sql'], { env, stdin: 'SELECT nonsense;\nSELECT 2 AS two;\n' })
    assert.deepEqual([bad.code, bad.stdout], [1, ''])
    assert.match(bad.stderr, /nonsense/)
  })

  test('keeps to the statement limit', async (context) => {
    const { url } = await createDatabase(context)
    const env = { DATABASE_URL: url, DB_STATEMENT_TIMEOUT_SECONDS: '0.2' }
    const { code, stderr } = await tidemark(['sql', 'SELECT pg_sleep(60)'], { env })
    assert.equal(code, 1)
    assert.match(stderr, /57014/)
  })
})

describe('tidemark status', () => {
  test('of a fresh schema says that nothing is there yet', async (context) => {
    const { url } = await createDatabase(context)
    const env = { DATABASE_URL: url }
    const people = await tidemark(['status'], { env })
    assert.equal(people.code, 0)
    assert.match(people.stdout, /^All is well: nothing has run here yet\.\n/)
    for (const heading of ['Pollers', 'Processors', 'Leaders', 'Instances']) {
      assert.match(people.stdout, new RegExp(`^${heading}$`, 'm'))
    }
    const { stdout } = await tidemark(['status', '--json'], { env })
    const { at, ...rest } = JSON.parse(stdout) as Record<string, unknown>
    assert.equal(typeof at, 'string')
    assert.deepEqual(rest, {
      verdict: { level: 'well', sentence: 'All is well: nothing has run here yet.', findings: [] },
      pollers: [],
      processors: [],
      jobs: [],
      slots: [],
      circuits: [],
      leaders: [],
      leader_changes: [],
      instances: [],
    })
  })

  test('shows pollers with lag, processors with backlog, leaders and instances', async (context) => {
    const { url, ...database } = await createDatabase(context)
    const client = await database.client()
    await client.query(`
      INSERT INTO service_ops.background_task (id, task_name, kind, led, interval_seconds, source_table, sources, config_hash, release, seen_at)
      VALUES (1, 'orders', 'poller', true, 10, 'shop.orders', NULL, 'x', '1', now()),
             (2, 'billing', 'processor', false, NULL, NULL, '{orders}', 'x', '1', now());
      INSERT INTO service_ops.integration_inbox (source, message_id, payload, trace_id)
      VALUES ('orders', '1', '{}', 't'), ('orders', '2', '{}', 't')`)
    const env = { DATABASE_URL: url }
    const { stdout } = await tidemark(['status'], { env })
    assert.match(stdout, /orders +shop\.orders +(orphaned|no leader)/)
    assert.match(stdout, /billing +orders +orphaned +not led +2 +0 +0 +0/)
    await client.query(`
      INSERT INTO service_ops.runner_instance (instance_id, holder, machine_id, release, state, tasks)
      VALUES ('one', gen_random_uuid(), 'm', '1', 'ready', '{billing}')`)
    assert.match(
      (await tidemark(['status'], { env })).stdout,
      /billing +orders +running +not led +2 +0 +0 +0/,
    )
    const document = JSON.parse((await tidemark(['status', '--json'], { env })).stdout) as {
      processors: { waiting: number }[]
    }
    assert.equal(document.processors[0]?.waiting, 2)
  })

  test('of a database without the schema fails and names what is missing', async (context) => {
    const { url } = await createDatabase(context, { migrated: false })
    const { code, stderr } = await tidemark(['status'], { env: { DATABASE_URL: url } })
    assert.equal(code, 1)
    assert.match(stderr, /service_ops[\s\S]*tidemark migrate/)
  })
})

describe('tidemark migrate and verify', () => {
  test('make the schema, find it whole, and find every invariant to hold', async (context) => {
    const database = await createDatabase(context, { migrated: false })
    const env = { DATABASE_URL: database.url }
    assert.equal((await tidemark(['migrate', '--status'], { env })).code, 1)
    assert.equal((await tidemark(['verify'], { env })).code, 2)

    const first = await tidemark(['migrate'], { env })
    assert.equal(first.code, 0, first.stderr)
    assert.match(first.stdout, /^applied: /)
    assert.equal((await tidemark(['migrate'], { env })).stdout, 'nothing to apply\n')
    assert.equal((await tidemark(['migrate', '--status'], { env })).code, 0)
    const pool = database.pool()
    await pool.query('UPDATE pgboss.version SET version = version - 1')
    assert.equal((await tidemark(['migrate', '--status'], { env })).code, 1, 'the queue’s schema counts too')
    await pool.query('UPDATE pgboss.version SET version = version + 1')

    const verify = await tidemark(['verify', '--json'], { env })
    const results = JSON.parse(verify.stdout) as { name: string; ok: boolean; found: number; query: string }[]
    assert.deepEqual([verify.code, results.every(({ ok, found }) => ok && found === 0)], [0, true])
    assert.ok(results.length > 0)
    assert.match((await tidemark(['verify'], { env })).stdout, /(\d+) of \1 hold\n$/)
  })

  test('say what does not hold, with the query behind it, and exit 1', async (context) => {
    const { url, ...database } = await createDatabase(context, { migrated: false })
    const env = { DATABASE_URL: url }
    await tidemark(['migrate'], { env })
    const client = await database.client()
    await client.query(`UPDATE service_ops.invariant SET query = 'SELECT 3::bigint, ''these''' WHERE name =
      (SELECT min(name) FROM service_ops.invariant WHERE scope = 'once')`)
    const { code, stdout } = await tidemark(['verify'], { env })
    assert.equal(code, 1)
    assert.match(stdout, /FAILS +\w+ +3 /)
    assert.match(stdout, /was checked by:\nSELECT 3::bigint/)
  })

  test('a lock that somebody else holds exits 75 and names the holder', async (context) => {
    const { url, ...database } = await createDatabase(context, { migrated: false })
    const holder = await database.client()
    await holder.query(`SELECT pg_advisory_lock(hashtextextended('tidemark:migrate', 0))`)
    const env = { DATABASE_URL: url, MIGRATION_LOCK_WAIT_SECONDS: '0' }
    const { code, stderr } = await tidemark(['migrate'], { env })
    assert.equal(code, 75)
    assert.match(stderr, /pg_terminate_backend/)
  })

  test('a table that somebody has exits 75 and names who, and the table', async (context) => {
    const { url, ...database } = await createDatabase(context, { migrated: false })
    const env = { DATABASE_URL: url, MIGRATION_LOCK_WAIT_SECONDS: '0', LOG_LEVEL: 'critical' }
    await tidemark(['migrate'], { env })
    const holder = await database.client()
    await holder.query(`DROP INDEX service_ops.poll_run_by_poller; BEGIN; DELETE FROM service_ops.poll_run`)
    const { code, stderr } = await tidemark(['migrate', '--repair'], { env })
    assert.equal(code, 75)
    assert.match(stderr, /service_ops\.poll_run is locked by pid \d+ .*pg_terminate_backend/)
  })

  test('a dropped object is named with the command that makes it again, which does', async (context) => {
    const { url, ...database } = await createDatabase(context, { migrated: false })
    const env = { DATABASE_URL: url }
    await tidemark(['migrate'], { env })
    const client = await database.client()
    await client.query('DROP TABLE service_ops.background_task_leader CASCADE')
    const { code, stderr } = await tidemark(['migrate'], { env })
    assert.equal(code, 1)
    assert.match(stderr, /background_task_leader.*--repair/)
    assert.equal((await tidemark(['migrate', '--repair'], { env })).code, 0)
    assert.equal((await tidemark(['migrate', '--status'], { env })).code, 0)
  })
})

describe('tidemark poll', () => {
  test('of an unknown poller exits 1 and names it', async (context) => {
    const { url } = await createDatabase(context, { migrated: false })
    const env = { DATABASE_URL: url }
    await tidemark(['migrate'], { env })
    const { code, stderr } = await tidemark(['poll', 'nobody'], { env })
    assert.equal(code, 1)
    assert.match(stderr, /nobody/)
  })
})
