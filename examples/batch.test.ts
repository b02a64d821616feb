import assert from 'node:assert/strict'
import { test } from 'node:test'
import { assertDone, assertFailed, testDatabase, testRunner } from 'tidemark/testing'
import { shop } from './shop.ts'

test('of a batch, the one bad price fails and the others are done', async (t) => {
  const database = await testDatabase()
  t.after(() => database.close())
  const runner = testRunner(shop(), { database })
  await runner.receive('prices', [
    { messageId: 'tea', payload: { cents: 350 } },
    { messageId: 'cups', payload: {} },
    { messageId: 'sugar', payload: { cents: 90 } },
  ])

  const [tea, cups, sugar] = await runner.processAll('pricing')

  assertDone(tea)
  assertFailed(cups, 'a price without cents')
  assertDone(sugar)
  assert.equal((await runner.inbox('prices')).length, 3)
})
