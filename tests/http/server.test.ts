import assert from 'node:assert/strict'
import { Agent, get } from 'node:http'
import { connect, createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { describe, test, type TestContext } from 'node:test'
import { serve, type Listening } from '../../src/http/server.ts'
import { until } from '../support/until.ts'
import { appOn, fakePort, type FakePort } from './fixture.ts'

async function listening(context: TestContext, port: FakePort = fakePort()): Promise<Listening> {
  const server = await serve(appOn(port).app, { host: '127.0.0.1', port: 0, tryNext: false })
  context.after(() => server.close(0))
  return server
}

/** A connection that stays open between requests, as a proxy keeps it. */
function keptAlive(context: TestContext) {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  context.after(() => agent.destroy())
  return (url: string) =>
    new Promise<{ code: number | undefined; connection: string | undefined }>((resolve, reject) => {
      get(url, { agent }, (response) => {
        response.resume()
        response.on('end', () =>
          resolve({ code: response.statusCode, connection: response.headers.connection }),
        )
      }).on('error', reject)
    })
}

describe('closing', () => {
  test('answers the request under way, refuses new connections, and then is done', async (context) => {
    const answer = Promise.withResolvers<unknown>()
    const asked = Promise.withResolvers<undefined>()
    const port = fakePort({
      document: () => {
        asked.resolve(undefined)
        return answer.promise
      },
    })
    const server = await listening(context, port)
    const response = fetch(`${server.address}/status`)
    await asked.promise

    let done = false
    const closed = server.close().then(() => (done = true))
    await until('new connections to be refused', () =>
      fetch(`${server.address}/live`).then(
        () => false,
        () => true,
      ),
    )
    assert.equal(done, false)

    answer.resolve({ late: true })
    assert.deepEqual(await (await response).json(), { late: true })
    await closed
  })

  test('lets go of idle connections at once', async (context) => {
    const server = await listening(context)
    const ask = keptAlive(context)
    assert.equal((await ask(`${server.address}/live`)).connection, 'keep-alive')
    const startedAt = performance.now()
    await server.close()
    const tookMs = Math.round(performance.now() - startedAt)
    context.diagnostic(`closed after ${tookMs} ms`)
    // Node would keep it for 5 s.
    assert.ok(tookMs < 4_000, `took ${tookMs} ms`)
  })

  test('cuts off what does not end within the grace', async (context) => {
    const server = await listening(context)
    const socket = connect(server.port, '127.0.0.1')
    context.after(() => socket.destroy())
    const ended = new Promise((resolve) => socket.on('close', resolve))
    await new Promise((resolve) => socket.write('GET /live HTTP/1.1\r\nHost: x\r\nContent-Le', resolve))
    await server.close(50)
    await ended
  })

  test('may be asked for twice', async (context) => {
    const server = await listening(context)
    await Promise.all([server.close(), server.close()])
  })
})

describe('listening', () => {
  test('on a taken port takes the next free one when it may, and else says so', async (context) => {
    const other = createServer()
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
    context.after(() => other.close())
    const { port } = other.address() as AddressInfo
    const { app } = appOn(fakePort())

    const next = await serve(app, { host: '127.0.0.1', port, tryNext: true })
    context.after(() => next.close(0))
    assert.ok(next.port > port)
    assert.equal((await fetch(`${next.address}/live`)).status, 200)

    await assert.rejects(serve(app, { host: '127.0.0.1', port, tryNext: false }), { name: 'PortTaken', port })
  })

  test('on all interfaces answers on IPv4, at an address that a browser can open', async (context) => {
    const server = await serve(appOn(fakePort()).app, { host: '::', port: 0, tryNext: false })
    context.after(() => server.close(0))
    assert.equal(server.address, `http://localhost:${server.port}`)
    assert.equal((await fetch(`http://127.0.0.1:${server.port}/live`)).status, 200)
  })

  test('answers a proxy over one kept connection, and ends it while draining', async (context) => {
    const port = fakePort()
    const server = await listening(context, port)
    const ask = keptAlive(context)
    await ask(`${server.address}/live`)
    port.ready = 'draining'
    assert.deepEqual(await ask(`${server.address}/ready`), { code: 503, connection: 'close' })
  })
})
