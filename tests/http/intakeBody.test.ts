import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { Webhook } from 'standardwebhooks'
import { intakeRoutes } from '../../src/http/intake.ts'
import { createBodyReader } from '../../src/http/intakeBody.ts'
import type { BodyReader, ReadOptions } from '../../src/http/intakeBody.ts'
import { IntakeFault } from '../../src/http/intakeFault.ts'
import { until } from '../support/until.ts'
import { fakePort } from './fixture.ts'
import { fakeIntake, SECRET, TOKEN } from './intakes.ts'

const LIMIT_MS = 30_000

const options = (change: Partial<ReadOptions> = {}): ReadOptions => ({
  maxBytes: 1_000_000,
  limitMs: LIMIT_MS,
  isStranger: false,
  ...change,
})

function request(body: RequestInit['body'], length?: number): Request {
  const headers = length === undefined ? {} : { 'content-length': String(length) }
  return new Request('http://intake.example', {
    method: 'POST',
    body,
    headers,
    duplex: 'half',
  } as RequestInit)
}

function fault(status: number) {
  return (error: unknown): boolean => error instanceof IntakeFault && error.status === status
}

/** A body that sends `first`, and then nothing until it is told. */
function hangingBody(first: string) {
  let controller: ReadableStreamDefaultController | undefined
  const body = new ReadableStream({
    start(made) {
      controller = made
      made.enqueue(new TextEncoder().encode(first))
    },
  })
  return {
    body,
    more: (text: string) => controller?.enqueue(new TextEncoder().encode(text)),
    end: () => controller?.close(),
  }
}

test('what is held is counted over all requests, until each is answered', async () => {
  const reader = createBodyReader(10)
  const one = await reader.read(request('123456', 6), options())
  await assert.rejects(reader.read(request('12345', 5), options()), fault(503))
  await assert.rejects(reader.read(request('12345'), options()), fault(503))
  const other = await reader.read(request('1234', 4), options())
  for (const held of [one, other, one]) held.release()
  assert.equal((await reader.read(request('1234567890'), options())).text, '1234567890')
})

const MB = 1_000_000
const textOf = (bytes: number): string => 'x'.repeat(bytes)

/** Requests that announce `length`, bring `first`, and hang until the end of the test; how many were refused so far. */
function hanging(t: TestContext, reader: BodyReader, count: number, length: number, first: string) {
  const seen = { refused: 0 }
  const open = new Set(Array.from({ length: count }, () => hangingBody(first)))
  const reading = Array.from(open, async (one) => {
    try {
      const { body } = one
      const held = await reader.read(request(body, length), options())
      held.release()
    } catch (error) {
      assert.ok(fault(503)(error))
      seen.refused += 1
      open.delete(one)
    }
  })
  t.after(async () => {
    for (const { end } of open) end()
    await Promise.all(reading)
  })
  return seen
}

for (const length of [60_000, 900_000]) {
  test(`what is only announced keeps nobody out: ${length} bytes, thirty times`, async (t) => {
    const reader = createBodyReader(MB)
    hanging(t, reader, 30, length, '')
    for (const bytes of [60_000, 999_999]) {
      const held = await reader.read(request(textOf(bytes), bytes), options())
      held.release()
    }
  })
}

test('small bodies count, while they arrive and when they have arrived', async (t) => {
  const reader = createBodyReader(MB)
  const small = () => reader.read(request(textOf(60_000), 60_000), options())
  const held = []
  for (let i = 0; i < 16; i += 1) held.push(await small())
  await assert.rejects(small(), fault(503))
  for (const one of held) one.release()
  const seen = hanging(t, reader, 30, 60_000, textOf(50_000))
  await until('the bound to be reached', () => seen.refused > 0)
})

test('strangers have a part of the bound, until they are known', async () => {
  const reader = createBodyReader(MB)
  const read = (bytes: number, isStranger: boolean) =>
    reader.read(request(textOf(bytes), bytes), options({ isStranger }))
  const first = await read(240_000, true)
  await assert.rejects(read(20_000, true), fault(503))
  const known = await read(700_000, false)
  first.known()
  const second = await read(20_000, true)
  await assert.rejects(read(60_000, false), fault(503))
  for (const held of [first, second, known]) held.release()
  const again = await read(250_000, true)
  again.release()
  assert.equal((await read(MB, false)).bytes, MB)
})

test('who signs is a stranger until the signature is judged, and who has the token is none', async () => {
  const reader = createBodyReader()
  const seen: (boolean | string)[] = []
  const watched: BodyReader = {
    async read(request, given) {
      seen.push(given.isStranger)
      const held = await reader.read(request, given)
      return { ...held, known: () => seen.push('known') }
    },
  }
  const settings = { requestTimeoutMs: LIMIT_MS, intakeToken: TOKEN, corsOrigins: [], machineId: null }
  const routes = intakeRoutes(fakePort(), fakeIntake(), settings, watched)
  const body = '{"message_id":"a","payload":1}'
  const json = { 'content-type': 'application/json' }
  const now = new Date()
  for (const sign of [body, '{}']) {
    const signature = new Webhook(SECRET).sign('m', now, sign)
    const headers = {
      ...json,
      'webhook-id': 'm',
      'webhook-timestamp': String(Math.floor(now.getTime() / 1000)),
      'webhook-signature': signature,
    }
    await routes.request('/signed', { method: 'POST', body, headers })
  }
  assert.deepEqual(seen.splice(0), [true, 'known', true])
  await routes.request('/signed', {
    method: 'POST',
    body,
    headers: { ...json, authorization: `Bearer ${TOKEN}` },
  })
  assert.equal(seen[0], false)
})

test('a body that was cut off is not held, whatever it still brings', async () => {
  const reader = createBodyReader(10)
  const { body, more, end } = hangingBody('12345')
  await assert.rejects(reader.read(request(body), options({ limitMs: 10 })), fault(408))
  more('67890')
  end()
  assert.equal((await reader.read(request('1234567890'), options())).bytes, 10)
})

test('a body that is longer than it announced is refused', async () => {
  const reader = createBodyReader()
  await assert.rejects(reader.read(request('x'.repeat(11), 2), options({ maxBytes: 10 })), fault(413))
})

test('a body without an end is read no further than the bound', async () => {
  const reader = createBodyReader()
  let sent = 0
  const body = new ReadableStream({
    pull(controller) {
      sent += 1_000
      controller.enqueue(new Uint8Array(1_000))
    },
  })
  await assert.rejects(reader.read(request(body), options({ maxBytes: 10_000 })), fault(413))
  assert.ok(sent < 20_000)
})
