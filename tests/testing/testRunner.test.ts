import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { assertDone, assertFailed, deliverOne, testDatabase, testRunner } from '../../src/testing/index.ts'
import type { TestDatabase } from '../../src/testing/index.ts'
import type { TidemarkConfig } from '../../src/config/types.ts'
import type { Scope } from '../support/scope.ts'
import { testServerUrl } from '../support/database.ts'

const SCHEMA = `
  CREATE SCHEMA shop;
  CREATE TABLE shop.orders (
    id integer PRIMARY KEY, created_at timestamptz NOT NULL DEFAULT clock_timestamp(), customer text NOT NULL DEFAULT 'ada');
  CREATE TABLE shop.parcels (order_id text PRIMARY KEY);`

async function database(t: Scope): Promise<TestDatabase> {
  const made = await testDatabase({ server: await testServerUrl(), schema: SCHEMA })
  t.after(() => made.close())
  return made
}

const source = { table: 'shop.orders', id: 'id', createdAt: 'created_at', groupKey: 'customer' }

/** Handlers note the order of their messages in `seen`. */
function config(changes: object = {}, seen: string[] = []): TidemarkConfig {
  return {
    pollers: { orders: { source, retention: '1d' } },
    processors: {
      packing: {
        from: 'orders',
        contract: 'transactional',
        async handle({ messageId }, { tx }) {
          seen.push(messageId)
          await tx.query('INSERT INTO shop.parcels VALUES ($1)', [messageId])
        },
        ...changes,
      },
    },
  }
}

describe('a runner that a test steps', () => {
  test('takes rows in by one pass, and runs one message, or all', async (t) => {
    const db = await database(t)
    const runner = testRunner(config(), { database: db })
    await db.query('INSERT INTO shop.orders (id) SELECT generate_series(1, 25)')
    assert.equal(await runner.processOne('packing'), undefined)
    const { read, inserted, late, paused } = await runner.poll('orders')
    assert.deepEqual({ read, inserted, late, paused }, { read: 25, inserted: 25, late: 0, paused: false })
    const one = await runner.processOne('packing')
    assertDone(one)
    assert.equal(one.ran, true)
    assert.equal((await db.query('SELECT FROM shop.parcels')).rowCount, 1)
    const rest = await runner.processAll('packing')
    assert.equal(rest.length, 24)
    for (const outcome of rest) assertDone(outcome)
    assert.equal((await runner.poll('orders')).inserted, 0)
    assert.deepEqual(await runner.processAll('packing'), [])
    assert.equal(runner.outcomes().length, 25)
    const verdict = await db.query('SELECT name FROM service_ops.verify() WHERE ok IS NOT true')
    assert.deepEqual(verdict.rows, [])
  })

  test('keeps what a handler threw, and rolls its writes back', async (t) => {
    const db = await database(t)
    const thrown = new Error('no tape')
    const outcome = await deliverOne(
      config({
        async handle(_: unknown, { tx }: { tx: { query(text: string): Promise<unknown> } }) {
          await tx.query(`INSERT INTO shop.parcels VALUES ('half')`)
          throw thrown
        },
      }),
      { processor: 'packing', payload: {}, database: db },
    )
    assertFailed(outcome, /no tape/)
    assert.equal(outcome.thrown, thrown)
    assert.ok(outcome.nextAttemptAt !== undefined)
    assert.equal((await db.query('SELECT FROM shop.parcels')).rowCount, 0)
  })

  test('works with slots, order, one leader, and a pause', async (t) => {
    const db = await database(t)
    const seen: string[] = []
    const ordered = testRunner(config({ ordered: true, exclusive: true, slots: { perKey: 1 } }, seen), {
      database: db,
    })
    await db.query(
      `INSERT INTO shop.orders (id, customer) SELECT i, 'c' || i % 2 FROM generate_series(1, 6) i`,
    )
    await ordered.poll('orders')
    await db.query(`UPDATE service_ops.background_task SET paused = true WHERE task_name = 'packing'`)
    assert.deepEqual(await ordered.processAll('packing'), [])
    await db.query('UPDATE service_ops.background_task SET paused = true')
    assert.equal((await ordered.poll('orders')).paused, true)
    await db.query('UPDATE service_ops.background_task SET paused = false')
    assert.equal((await ordered.processAll('packing')).length, 6)
    const of = (rest: number): number[] => seen.map(Number).filter((id) => id % 2 === rest)
    assert.deepEqual(
      [of(0), of(1)],
      [
        [2, 4, 6],
        [1, 3, 5],
      ],
    )
  })

  test('takes the lead from another, whose pass is then its own again at its next poll', async (t) => {
    const db = await database(t)
    const [blue, green] = [testRunner(config(), { database: db }), testRunner(config(), { database: db })]
    for (const [id, runner] of [blue, green, blue].entries()) {
      await db.query('INSERT INTO shop.orders (id) VALUES ($1)', [id])
      assert.equal((await runner.poll('orders')).inserted, 1)
    }
    const { rows } = await db.query('SELECT reason FROM service_ops.leader_change ORDER BY term')
    assert.deepEqual(
      rows.map(({ reason }) => reason as string),
      ['elected', 'took_over', 'took_over'],
    )
    await Promise.all([blue.close(), green.close()])
    assert.equal((await db.query('SELECT FROM service_ops.background_task_leader')).rowCount, 0)
  })

  test('says why a step cannot be made', async (t) => {
    const db = await database(t)
    const runner = testRunner(config(), { database: db })
    await assert.rejects(runner.poll('order'), /no poller order; it has orders/)
    await assert.rejects(runner.processOne('parcels'), /no processor parcels; it has packing/)
    await assert.rejects(runner.runJob('report'), /no job report; it has none/)
    await assert.rejects(runner.sweep('orders'), /made no pass yet/)
    await assert.rejects(runner.clock.advance('-5m'), /no span of time/)
    await db.query('DROP TABLE shop.orders')
    await assert.rejects(
      testRunner(config(), { database: db }).poll('orders'),
      /does not start: .*shop\.orders/,
    )
    assert.throws(
      () => testRunner({ processors: { a: {} } } as unknown as TidemarkConfig, { database: db }),
      {
        name: 'ConfigInvalid',
      },
    )
  })

  test('is closed by its database, and can be closed before', async (t) => {
    const db = await database(t)
    const runner = testRunner(config(), { database: db })
    await runner.poll('orders')
    await runner.close()
    await runner.close()
    await testRunner(config(), { database: db }).poll('orders')
    await db.close()
  })
})
