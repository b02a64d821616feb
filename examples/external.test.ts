import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { assertDone, assertFailed, testDatabase, testRunner } from 'tidemark/testing'
import { shop } from './shop.ts'

test('a mail that the service did not take is sent again under the same key', async (t) => {
  const keys: unknown[] = []
  const answers = [503, 200]
  const service = createServer((request, answer) => {
    keys.push(request.headers['idempotency-key'])
    answer.writeHead(answers[keys.length - 1] ?? 500).end()
  })
  await once(service.listen(0, '127.0.0.1'), 'listening')
  t.after(() => service.close())
  const database = await testDatabase()
  t.after(() => database.close())

  const { port } = service.address() as AddressInfo
  const runner = testRunner(shop({ mailUrl: `http://127.0.0.1:${port}` }), { database })
  await runner.receive('mails', { messageId: 'mail-1', payload: { to: 'ada@example.com' } })

  assertFailed(await runner.processOne('mailing'), 'the mail service says 503')
  await runner.clock.advance('1m')
  assertDone(await runner.processOne('mailing'))
  assert.deepEqual(keys, ['mail-1', 'mail-1'])
  assert.ok(runner.events().some(({ event, msg }) => event === 'handler_log' && msg === 'mail sent'))
})
