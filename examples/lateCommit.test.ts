import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Client } from 'pg'
import { testDatabase, testRunner } from 'tidemark/testing'
import { schema, shop } from './shop.ts'

test('an order that is committed late is not skipped', async (t) => {
  const database = await testDatabase({ schema })
  t.after(() => database.close())
  const runner = testRunner(shop(), { database })

  // Its time is that of its BEGIN; its COMMIT comes after a later order was taken in.
  const slow = new Client({ connectionString: database.url })
  await slow.connect()
  await slow.query('BEGIN')
  await slow.query(`INSERT INTO shop.orders (item) VALUES ('cups')`)
  await database.query(`INSERT INTO shop.orders (item) VALUES ('tea')`)

  assert.equal((await runner.poll('orders')).inserted, 1)
  await slow.query('COMMIT')
  await slow.end()
  const { inserted, late } = await runner.poll('orders')

  assert.deepEqual({ inserted, late }, { inserted: 1, late: 1 })
  const items = (await runner.inbox('orders')).map(({ payload }) => (payload as { item: string }).item)
  assert.deepEqual(items, ['tea', 'cups'])
})
