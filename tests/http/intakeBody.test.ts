import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createBodyReader } from '../../src/http/intakeBody.ts'
import { IntakeFault } from '../../src/http/intakeFault.ts'

const LIMIT_MS = 30_000

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
  const one = await reader.read(request('123456', 6), 100, LIMIT_MS)
  await assert.rejects(reader.read(request('12345', 5), 100, LIMIT_MS), fault(503))
  await assert.rejects(reader.read(request('12345'), 100, LIMIT_MS), fault(503))
  const other = await reader.read(request('1234', 4), 100, LIMIT_MS)
  for (const held of [one, other, one]) held.release()
  assert.equal((await reader.read(request('1234567890'), 100, LIMIT_MS)).text, '1234567890')
})

test('what is only announced keeps nobody out', async () => {
  const reader = createBodyReader(200_000)
  const { body, end } = hangingBody('1')
  const slow = reader.read(request(body, 199_999), 1_000_000, LIMIT_MS)
  const held = await reader.read(request('x'.repeat(150_000), 150_000), 1_000_000, LIMIT_MS)
  held.release()
  end()
  assert.equal((await slow).text, '1')
})

test('a body that was cut off is not held, whatever it still brings', async () => {
  const reader = createBodyReader(10)
  const { body, more, end } = hangingBody('12345')
  await assert.rejects(reader.read(request(body), 100, 10), fault(408))
  more('67890')
  end()
  assert.equal((await reader.read(request('1234567890'), 100, LIMIT_MS)).bytes, 10)
})

test('a body that is longer than it announced is refused', async () => {
  const reader = createBodyReader()
  await assert.rejects(reader.read(request('x'.repeat(11), 2), 10, LIMIT_MS), fault(413))
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
  await assert.rejects(reader.read(request(body), 10_000, LIMIT_MS), fault(413))
  assert.ok(sent < 20_000)
})
