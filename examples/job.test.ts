import assert from 'node:assert/strict'
import { test } from 'node:test'
import { assertDead, assertDone, assertFailed, testDatabase, testRunner } from 'tidemark/testing'
import { schema, shop } from './shop.ts'

test('the report is made by hand, tried once more when it fails, and then given up', async (t) => {
  const database = await testDatabase()
  t.after(() => database.close())
  const runner = testRunner(shop(), { database })

  assertDone(await runner.runJob('report'))

  process.env['SHOP'] = 'closed'
  t.after(() => delete process.env['SHOP'])
  assertFailed(await runner.runJob('report'), 'the shop is closed')
  assert.deepEqual(await runner.runJobs('report'), [])
  await runner.clock.advance('5m')
  const [last] = await runner.runJobs('report')
  assertDead(last, 'the shop is closed')
})

test('a job that a handler sends is there if and only if its message is done', async (t) => {
  const database = await testDatabase({ schema })
  t.after(() => database.close())
  const runner = testRunner(shop(), { database })
  await runner.receive('orders', {
    payload: { item: 'tea' },
    messageId: '018f4d3c-0000-7000-8000-000000000001',
  })

  assertFailed(await runner.processOne('packing'))
  assert.deepEqual(await runner.runJobs('report'), [])

  await database.query(`INSERT INTO shop.stock VALUES ('tea', 1)`)
  await runner.clock.advance('1m')
  assertDone(await runner.processOne('packing'))
  const [report] = await runner.runJobs('report')
  assertDone(report)
})
