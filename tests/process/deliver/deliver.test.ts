import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Webhook } from 'standardwebhooks'
import { deliveryId } from '../../../src/process/deliver/deliver.ts'
import { newSecret } from '../../support/receiver.ts'
import { SOURCE } from '../fixture.ts'
import { delivering } from './fixture.ts'

describe('a delivery', () => {
  test('is a signed POST of the payload, with the id of the message and its trace', async (t) => {
    const { sql, target, processor, become } = await delivering(t)
    const trace = '0af7651916cd43dd8448eb211c80319c'
    await sql.query(
      `INSERT INTO service_ops.integration_inbox (source, message_id, payload, trace_id)
       VALUES ($1, 'a', '{"name": "Zoë", "n": [1, null]}', $2)`,
      [SOURCE, trace],
    )
    processor.start()
    await become({ a: 'DONE 1' })
    // The receiver takes in what it could verify, and nothing else.
    const [arrival, more] = target.arrivals
    assert.ok(arrival !== undefined && more === undefined)
    assert.deepEqual(arrival.payload, { name: 'Zoë', n: [1, null] })
    assert.equal(arrival.path, '/hooks/orders?key=hidden')
    const { headers } = arrival
    const id = deliveryId({ source: SOURCE, messageId: 'a' })
    assert.match(id, /^msg_[0-9a-f]{32}$/)
    assert.deepEqual([headers['webhook-id'], headers['idempotency-key']], [id, id])
    assert.equal(headers['content-type'], 'application/json')
    assert.match(headers['user-agent'] ?? '', /^Tidemark\/\d/)
    assert.equal(headers['x-trace-id'], trace)
    assert.match(String(headers['traceparent']), new RegExp(`^00-${trace}-[0-9a-f]{16}-01$`))
  })

  test('bears a signature of each secret, so that the receiver can change from one to the next', async (t) => {
    const next = newSecret()
    const { send, target, processor, become } = await delivering(t, { more: [next] })
    await send('a')
    processor.start()
    await become({ a: 'DONE 1' })
    const { headers } = target.arrivals[0] ?? assert.fail('nothing arrived')
    assert.equal(String(headers['webhook-signature']).split(' ').length, 2)
    new Webhook(next).verify('{}', headers as Record<string, string>)
    assert.throws(() => new Webhook(newSecret()).verify('{}', headers as Record<string, string>))
  })

  test('is made again under the same id, with a signature of its own time', async (t) => {
    const { send, target, processor, become } = await delivering(t)
    target.react((_, time) => (time < 3 ? 500 : 204))
    await send('a')
    processor.start()
    await become({ a: 'DONE 3' })
    assert.deepEqual(
      target.arrivals.map(({ id }) => id),
      Array.from({ length: 3 }, () => deliveryId({ source: SOURCE, messageId: 'a' })),
    )
  })

  test('sends many messages over few connections', async (t) => {
    const { send, target, processor, become } = await delivering(t, { concurrency: 2 })
    const ids = Array.from({ length: 40 }, (_, i) => `m${i}`)
    await send(...ids)
    processor.start()
    await become(Object.fromEntries(ids.map((id) => [id, 'DONE 1'])))
    assert.ok(new Set(target.arrivals.map(({ from }) => from)).size <= 2)
  })

  test('that finds its idle connection closed goes over a new one, and costs no attempt', async (t) => {
    const { send, target, processor, become } = await delivering(t, { concurrency: 1 })
    await send('a')
    processor.start()
    await become({ a: 'DONE 1' })
    target.resetIdle()
    await send('b')
    processor.wake()
    await become({ b: 'DONE 1' })
    const [first, second] = target.arrivals
    assert.notEqual(first?.from, second?.from)
  })

  test('takes user and password out of the address, and sends them', async (t) => {
    const { send, target, processor, become } = await delivering(t, {
      url: (at) => at.replace('//', '//ann:p%40ss@'),
    })
    target.react(() => 503)
    await send('a')
    processor.start()
    await become({ a: 'DEAD 3' })
    const { headers } = target.arrivals[0] ?? assert.fail('nothing arrived')
    assert.equal(headers.authorization, `Basic ${Buffer.from('ann:p@ss').toString('base64')}`)
  })

  test('sends a password that cannot be decoded as it stands', async (t) => {
    const { send, target, processor, become } = await delivering(t, {
      url: (at) => at.replace('//', '//ann:100%@'),
    })
    await send('a')
    processor.start()
    await become({ a: 'DONE 1' })
    const { headers } = target.arrivals[0] ?? assert.fail('nothing arrived')
    assert.equal(headers.authorization, `Basic ${Buffer.from('ann:100%').toString('base64')}`)
  })
})

test('an id is that of the message for good, and no other message has it', () => {
  const id = (source: string, messageId: string): string => deliveryId({ source, messageId })
  assert.equal(id('a', 'b'), id('a', 'b'))
  assert.equal(new Set([id('a', 'b'), id('b', 'a'), id('ab', ''), id('', 'ab'), id('a', 'bb')]).size, 5)
})
