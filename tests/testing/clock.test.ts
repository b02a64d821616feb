import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { assertDead, assertDone, assertFailed, testDatabase, testRunner } from '../../src/testing/index.ts'
import type { TestDatabase } from '../../src/testing/index.ts'
import type { TidemarkConfig } from '../../src/config/types.ts'
import { createDatabase, testServerUrl } from '../support/database.ts'
import { plainRole } from '../support/plainRole.ts'
import { receiver } from '../support/receiver.ts'
import type { Scope } from '../support/scope.ts'

const SCHEMA = `
  CREATE SCHEMA shop;
  CREATE TABLE shop.orders (id integer PRIMARY KEY, created_at timestamptz NOT NULL DEFAULT clock_timestamp());
  CREATE FUNCTION shop.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'an order does not change'; END $$;
  CREATE TRIGGER keep BEFORE UPDATE ON shop.orders FOR EACH ROW EXECUTE FUNCTION shop.refuse();`

async function database(t: Scope): Promise<TestDatabase> {
  const made = await testDatabase({ server: await testServerUrl(), schema: SCHEMA })
  t.after(() => made.close())
  return made
}

function config(handle: () => void = () => undefined, changes: object = {}): TidemarkConfig {
  return {
    pollers: {
      orders: {
        source: { table: 'shop.orders', id: 'id', createdAt: 'created_at' },
        every: '1s',
        retention: '1d',
      },
    },
    intakes: { mails: { retention: '1d' } },
    processors: {
      packing: { from: ['orders', 'mails'], contract: 'external', handle, ...changes },
    },
  }
}

describe("a test's clock", () => {
  test('brings retries forward, exactly so far', async (t) => {
    const runner = testRunner(
      config(
        () => {
          throw new Error('never')
        },
        { maxAttempts: 2, backoff: { base: '10m', max: '10m' } },
      ),
      { database: await database(t) },
    )
    await runner.receive('mails', { payload: 1 })
    assertFailed(await runner.processOne('packing'))
    await runner.clock.advance('1m')
    assert.equal(await runner.processOne('packing'), undefined)
    await runner.clock.advance('10m')
    assertDead(await runner.processOne('packing'))
    assert.equal(runner.clock.advancedMs, 11 * 60_000)
  })

  test('moves rows and edge together: nothing is taken in again, the edge goes on, no clock is seen to step', async (t) => {
    const db = await database(t)
    const runner = testRunner(config(), { database: db })
    await db.query('INSERT INTO shop.orders (id) VALUES (1), (2)')
    await runner.poll('orders')
    await runner.processAll('packing')
    await runner.clock.advance('1h')
    // A candidate, then its proof; five seconds of slack are over.
    await runner.poll('orders')
    await runner.clock.advance('10s')
    await runner.poll('orders')
    const { edge, read, inserted } = await runner.poll('orders')
    assert.deepEqual({ read, inserted }, { read: 0, inserted: 0 })
    assert.ok(Date.now() - new Date(edge).getTime() < 60_000, edge)
    const odd = runner.events().filter(({ event }) => ['clock_stepped', 'sweep_wanted'].includes(event))
    assert.deepEqual(odd, [])
    assert.deepEqual(await runner.sweep('orders'), { found: 0 })
    const verdict = await db.query('SELECT name, detail FROM service_ops.verify() WHERE ok IS NOT true')
    assert.deepEqual(verdict.rows, [])
  })

  test('lets retention forget what is old, and nothing is taken in a second time', async (t) => {
    const db = await database(t)
    const runner = testRunner(config(), { database: db })
    await db.query('INSERT INTO shop.orders (id) VALUES (1), (2)')
    await runner.receive('mails', [{ payload: 1 }, { payload: 2 }])
    await runner.poll('orders')
    assert.equal((await runner.processAll('packing')).length, 4)
    assert.deepEqual(await runner.forget('orders'), { forgotten: 0 })
    await runner.clock.advance('25h')
    // The newest message of all is kept; this one is.
    await db.query('INSERT INTO shop.orders (id) VALUES (3)')
    await runner.poll('orders')
    await runner.clock.advance('10s')
    await runner.poll('orders')
    assert.deepEqual(await runner.forget('orders'), { forgotten: 2 })
    assert.deepEqual(await runner.forget('mails'), { forgotten: 2 })
    assert.equal((await runner.poll('orders')).inserted, 0)
    assert.deepEqual(await runner.sweep('orders'), { found: 0 })
    assert.deepEqual(
      (await runner.inbox()).map(({ messageId }) => messageId),
      ['3'],
    )
  })

  test('closes the circuit of a target in time', async (t) => {
    const target = await receiver(t)
    target.react(() => 503)
    const { url, secret } = target
    const runner = testRunner(
      { intakes: { mails: {} }, processors: { hook: { from: 'mails', deliver: { url, secret } } } },
      { database: await database(t) },
    )
    await runner.receive(
      'mails',
      Array.from({ length: 8 }, (_, n) => ({ payload: n })),
    )
    await runner.processAll('hook')
    const { length: sent } = target.arrivals
    assert.ok(runner.events().some(({ event }) => event === 'circuit_opened'))
    assert.equal(await runner.processOne('hook'), undefined)
    target.react(() => 200)
    await runner.clock.advance('1h')
    assertDone(await runner.processOne('hook'))
    assert.ok(target.arrivals.length > sent)
    assert.ok(runner.events().some(({ event }) => event === 'circuit_closed'))
  })

  test('is turned by a role that is no superuser, too', async (t) => {
    const made = await createDatabase(t)
    const { role, url } = await plainRole(t, made)
    await made.pool().query(`ALTER ROLE ${role} CREATEDB`)
    const server = new URL(url)
    server.pathname = '/postgres'
    const db = await testDatabase({ server: server.href })
    const runner = testRunner({ ...config(), pollers: {}, processors: {} }, { database: db })
    await runner.receive('mails', { payload: 1 })
    await runner.clock.advance('1h')
    const { rows } = await db.query<{ old: boolean }>(
      `SELECT created_at < now() - interval '59 minutes' AS old FROM service_ops.integration_inbox`,
    )
    assert.deepEqual(rows, [{ old: true }])
    await db.close()
    const templates = await made
      .pool()
      .query<{ datname: string }>('SELECT datname FROM pg_database WHERE datdba = $1::regrole', [role])
    for (const { datname } of templates.rows) await made.pool().query(`DROP DATABASE ${datname} WITH (FORCE)`)
  })
})
