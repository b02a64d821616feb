import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Client } from 'pg'
import { testDatabase } from '../../src/testing/index.ts'
import type { NewDatabase } from '../../src/testing/index.ts'
import { createDatabase, testServerUrl } from '../support/database.ts'
import { plainRole } from '../support/plainRole.ts'
import { until } from '../support/until.ts'
import { startMaker } from './processes.ts'

const SCHEMA = 'CREATE SCHEMA shop; CREATE TABLE shop.orders (id integer PRIMARY KEY)'

async function query<R extends object>(text: string, values: string[] = []): Promise<R[]> {
  const client = new Client({ connectionString: await testServerUrl() })
  await client.connect()
  try {
    return (await client.query<R & Record<string, unknown>>(text, values)).rows
  } finally {
    await client.end()
  }
}

/** Names of those like this. */
async function databases(pattern: string): Promise<string[]> {
  const text = 'SELECT datname FROM pg_database WHERE datname LIKE $1 ORDER BY 1'
  return (await query<{ datname: string }>(text, [pattern])).map(({ datname }) => datname)
}

describe('a database of one test', () => {
  test("has Tidemark's schema, pg-boss's and the app's, and is gone when it is closed", async () => {
    const server = await testServerUrl()
    const database = await testDatabase({ server, schema: SCHEMA })
    const { rows } = await database.query(
      `SELECT to_regclass('service_ops.integration_inbox') IS NOT NULL AS ours,
              to_regclass('pgboss.job') IS NOT NULL AS boss, to_regclass('shop.orders') IS NOT NULL AS apps`,
    )
    assert.deepEqual(rows, [{ ours: true, boss: true, apps: true }])
    const client = new Client({ connectionString: database.url })
    client.on('error', () => undefined) // it is cut off when the database is dropped
    await client.connect()
    await database.close()
    await database.close()
    assert.deepEqual(await databases(database.name), [])
    await client.end().catch(() => undefined)
  })

  test('after the first takes less than a second, and none sees what another writes', async (t) => {
    const server = await testServerUrl()
    const first = await testDatabase({ server, schema: SCHEMA })
    t.after(() => first.close())
    await first.query('INSERT INTO shop.orders VALUES (1)')
    const times: number[] = []
    for (let i = 0; i < 3; i += 1) {
      const startedAt = performance.now()
      const next = await testDatabase({ server, schema: SCHEMA })
      t.after(() => next.close())
      times.push(performance.now() - startedAt)
      assert.equal((await next.query('SELECT FROM shop.orders')).rowCount, 0)
    }
    t.diagnostic(`a copy took ${times.map((ms) => Math.round(ms)).join(', ')} ms`)
    assert.ok(Math.min(...times) < 1_000, String(times))
  })

  test('of a schema that is a function runs it once, and of the next function anew', async (t) => {
    const server = await testServerUrl()
    let runs = 0
    const schema = async (database: { query(text: string): Promise<unknown> }): Promise<void> => {
      runs += 1
      await database.query(SCHEMA)
    }
    const made = await Promise.all([1, 2, 3].map(() => testDatabase({ server, schema })))
    t.after(() => Promise.all(made.map((database) => database.close())))
    assert.equal(runs, 1)
    const other = await testDatabase({
      server,
      schema: (database) => database.query('CREATE TABLE other ()'),
    })
    t.after(() => other.close())
    const { rows } = await other.query(
      `SELECT to_regclass('other') IS NOT NULL AS other, to_regclass('shop.orders') IS NOT NULL AS shop`,
    )
    assert.deepEqual(rows, [{ other: true, shop: false }])
  })

  test('whose schema fails says so, and leaves no half-made template', async (t) => {
    const server = await testServerUrl()
    const other = await testDatabase({ server })
    t.after(() => other.close())
    const ours = (): Promise<string[]> => databases(`${other.name.split('_', 3).join('\\_')}%`)
    const before = await ours()
    const broken = 'CREATE TABLE broken (x no_such_type)'
    for (const schema of [broken, [broken], (database: NewDatabase) => database.query(broken)])
      await assert.rejects(testDatabase({ server, schema }), {
        name: 'TestDatabaseImpossible',
        message: /its schema failed: .*no_such_type/,
      })
    assert.deepEqual(await ours(), before)
  })

  test('is made by several processes at once, from a template that one of them makes', async (t) => {
    const TIDEMARK_TEST_DATABASE_URL = await testServerUrl()
    // Roles are the whole server's: a second process that made it would fail.
    const role = `once_${Date.now()}`
    const makers = [1, 2, 3].map(() =>
      startMaker(t, { TIDEMARK_TEST_DATABASE_URL, SCHEMA: `CREATE ROLE ${role}` }),
    )
    const names = (await Promise.all(makers.map(({ made }) => made))).map(({ name }) => name)
    assert.equal(new Set(names).size, 3)
    assert.deepEqual(await Promise.all(makers.map(({ ended }) => ended)), [0, 0, 0])
    await query(`DROP ROLE ${role}`)
  })

  test('whose process was killed is dropped by the next', async (t) => {
    const TIDEMARK_TEST_DATABASE_URL = await testServerUrl()
    const living = startMaker(t, { TIDEMARK_TEST_DATABASE_URL, STAYS: '1' })
    const killed = startMaker(t, { TIDEMARK_TEST_DATABASE_URL, STAYS: '1' })
    const [kept, left] = [(await living.made).name, (await killed.made).name]
    await killed.kill()
    assert.deepEqual(await databases(left), [left])
    // Its backend ends a moment after it.
    await until('the database of the killed one to be dropped', async () => {
      const next = startMaker(t, { TIDEMARK_TEST_DATABASE_URL })
      assert.equal(await next.ended, 0)
      return (await databases(left)).length === 0
    })
    assert.deepEqual(await databases(kept), [kept])
  })

  test('is refused with the remedy by a role that may make none', async (t) => {
    const server = new URL((await plainRole(t, await createDatabase(t))).url)
    server.pathname = '/postgres'
    await assert.rejects(testDatabase({ server: server.href }), {
      name: 'TestDatabaseImpossible',
      message: /CREATEDB/,
    })
    await assert.rejects(testDatabase({ server: 'postgres://nobody@127.0.0.1:1/postgres' }), {
      name: 'TestDatabaseImpossible',
      message: /TIDEMARK_TEST_DATABASE_URL/,
    })
  })
})
