import assert from 'node:assert/strict'
import { test } from 'node:test'
import { assertDead, assertDone, assertFailed, deliverOne, testDatabase, testRunner } from 'tidemark/testing'
import { schema, shop } from './shop.ts'

test('an order becomes a parcel, and a piece of stock less', async (t) => {
  const database = await testDatabase({ schema })
  t.after(() => database.close())
  await database.query(`INSERT INTO shop.stock VALUES ('tea', 3)`)

  const outcome = await deliverOne(shop(), {
    processor: 'packing',
    messageId: '018f4d3c-0000-7000-8000-000000000001',
    payload: { item: 'tea' },
    database,
  })

  assertDone(outcome)
  const { rows } = await database.query(
    'SELECT p.item, s.pieces FROM shop.parcels p JOIN shop.stock s USING (item)',
  )
  assert.deepEqual(rows, [{ item: 'tea', pieces: 2 }])
})

test('without stock nothing is packed: it is tried again, and given up after three attempts', async (t) => {
  const database = await testDatabase({ schema })
  t.after(() => database.close())
  const runner = testRunner(shop(), { database })
  await database.query(`INSERT INTO shop.orders (item) VALUES ('tea')`)
  await runner.poll('orders')

  assertFailed(await runner.processOne('packing'), /no tea in stock/)
  assert.equal((await database.query('SELECT FROM shop.parcels')).rowCount, 0)

  // Nothing is due before its wait is over; then it is.
  assert.equal(await runner.processOne('packing'), undefined)
  await runner.clock.advance('1m')
  assertFailed(await runner.processOne('packing'))
  await runner.clock.advance('1m')
  assertDead(await runner.processOne('packing'), 'no tea in stock')
})

test('the same order twice is packed once', async (t) => {
  const database = await testDatabase({ schema })
  t.after(() => database.close())
  await database.query(`INSERT INTO shop.stock VALUES ('tea', 3)`)
  const order = { processor: 'packing', messageId: '018f4d3c-0000-7000-8000-000000000001', database }

  const first = await deliverOne(shop(), { ...order, payload: { item: 'tea' } })
  const again = await deliverOne(shop(), { ...order, payload: { item: 'tea' } })

  assertDone(first)
  assertDone(again)
  assert.equal(again.ran, false)
  assert.equal((await database.query('SELECT FROM shop.parcels')).rowCount, 1)
})
