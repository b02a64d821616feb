import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { describe, test } from 'node:test'
import type { TestContext } from 'node:test'
import { openConnections, post, Unanswered } from '../../../src/process/deliver/request.ts'

/** A server that reacts to its first, second … request so; with one connection to it that is kept open. */
async function serving(t: TestContext, ...reactions: ((answer: ServerResponse, socket: Socket) => void)[]) {
  let requests = 0
  const server = createServer((request, answer) => {
    request.resume()
    const react = reactions[(requests += 1) - 1] ?? assert.fail('one request too many')
    react(answer, request.socket)
  })
  const close = (): void => {
    server.close()
    server.closeAllConnections()
  }
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const url = new URL(`http://127.0.0.1:${port}/`)
  const connections = openConnections(url, 1)
  t.after(() => {
    connections.destroy()
    close()
  })
  return {
    close,
    get requests() {
      return requests
    },
    send: (timeoutMs = 10_000) =>
      post({ url, headers: {}, body: '{}', timeoutMs, signal: t.signal }, connections),
  }
}

const takes = (answer: ServerResponse): void => void answer.writeHead(204).end()
const resets = (_: ServerResponse, socket: Socket): void => void socket.resetAndDestroy()
const unanswered =
  (expected: Partial<Unanswered>) =>
  (error: unknown): true => {
    assert.ok(error instanceof Unanswered)
    const { sent, timedOut } = error
    assert.deepEqual({ sent, timedOut }, { sent: true, timedOut: false, ...expected })
    return true
  }

describe('a request over a connection that lay idle', () => {
  test('is sent again when that is reset at once', async (t) => {
    const target = await serving(t, takes, resets, takes)
    await target.send()
    assert.equal((await target.send()).status, 204)
    assert.equal(target.requests, 3)
  })

  test('is not sent again when the reset comes later: it was read', async (t) => {
    const target = await serving(
      t,
      takes,
      (_, socket) => void setTimeout(() => socket.resetAndDestroy(), 300),
    )
    await target.send()
    await assert.rejects(target.send(), unanswered({}))
    assert.equal(target.requests, 2)
  })

  test('was sent when nobody is there the second time: it may be what ends its receiver', async (t) => {
    const target = await serving(t, takes, (_, socket) => {
      target.close()
      socket.resetAndDestroy()
    })
    await target.send()
    await assert.rejects(target.send(), unanswered({}))
  })

  test('has one limit for both times', async (t) => {
    const target = await serving(t, takes, resets, () => undefined)
    await target.send()
    const now = performance.now.bind(performance)
    let aheadMs = 0
    t.mock.method(performance, 'now', () => now() + aheadMs)
    const since = now()
    const sending = target.send(20_000)
    aheadMs = 19_900 // most of the time is gone before the connection is taken
    await assert.rejects(sending, unanswered({ timedOut: true }))
    assert.ok(now() - since < 10_000, `it took ${now() - since} ms`)
    assert.equal(target.requests, 3)
  })
})

test('a request that has waited for a connection was sent over it, whatever becomes of it', async (t) => {
  const target = await serving(t, takes, resets)
  const [first, second] = [target.send(), target.send()]
  await first
  await assert.rejects(second, unanswered({}))
})
