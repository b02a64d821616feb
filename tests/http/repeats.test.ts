import assert from 'node:assert/strict'
import { get } from 'node:http'
import type { IncomingHttpHeaders } from 'node:http'
import { describe, test, type TestContext } from 'node:test'
import { createRepeats } from '../../src/http/repeats.ts'
import { serve } from '../../src/http/server.ts'
import { appOn, fakePort, type FakePort } from './fixture.ts'

const PARENT = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'

/** Two servers of one app, of which the first repeats answers. */
async function servers(t: TestContext, port: FakePort = fakePort(), host = '0.0.0.0') {
  let made = 0
  const metrics = {
    contentType: 'text/plain; version=0.0.4; charset=utf-8',
    text: () => Promise.resolve(`tidemark_ready ${(made += 1)}\n`),
    requested: () => () => undefined,
  }
  // Reached under any name: on the loopback what is public is told under this machine’s own names alone (ownHost.ts).
  const { app } = appOn(port, { host }, { metrics })
  const at = { host: '127.0.0.1', port: 0, tryNext: false }
  const repeating = await serve(app, { ...at, repeats: createRepeats(app, () => port.readiness()) })
  const plain = await serve(app, at)
  t.after(() => Promise.all([repeating.close(0), plain.close(0)]))
  return { repeating: repeating.address, plain: plain.address, made: () => made }
}

interface Answer {
  readonly status: number | undefined
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

function ask(url: string, headers: Record<string, string> = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    get(url, { headers }, (response) => {
      let body = ''
      response.setEncoding('utf8').on('data', (part: string) => (body += part))
      response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, body }))
    }).on('error', reject)
  })
}

/** How a body is sent, and when, is no part of the answer. */
const OF_THE_WIRE: ReadonlySet<string> = new Set(['date', 'content-length', 'transfer-encoding'])

const PATHS = ['/live', '/ready', '/health', '/metrics']

describe('an answer that is given again', () => {
  test('is what the app would answer, in status, headers and body', async (t) => {
    for (const ready of ['ready', 'database_unavailable', 'draining'] as const) {
      const { repeating, plain } = await servers(t, fakePort({ ready }))
      for (const path of PATHS) {
        const headers = { 'X-Trace-ID': 'order-7', traceparent: PARENT }
        await ask(repeating + path)
        const [again, fresh] = [await ask(repeating + path, headers), await ask(plain + path, headers)]
        const same = ({ status, headers: all, body }: Answer) => ({
          status,
          headers: Object.entries(all)
            .filter(([name]) => !OF_THE_WIRE.has(name))
            .sort(),
          // The times that it tells, and how often the text was made.
          body: body.replace(/"timestamp":"[^"]+"|"latency_ms":[\d.]+|\d+\n/g, ''),
        })
        assert.deepEqual(same(again), same(fresh), `${path} while ${ready}`)
        assert.equal(again.headers['content-length'], String(Buffer.byteLength(again.body)))
      }
    }
  })

  test('has the trace of its own request, or a fresh one', async (t) => {
    const { repeating } = await servers(t)
    const first = await ask(`${repeating}/live`)
    const second = await ask(`${repeating}/live`)
    assert.match(String(first.headers['x-trace-id']), /^[0-9a-f]{32}$/)
    assert.notEqual(first.headers['x-trace-id'], second.headers['x-trace-id'])
    const given = await ask(`${repeating}/live`, { traceparent: PARENT })
    assert.deepEqual(
      [given.headers['x-trace-id'], given.headers.traceparent],
      ['0af7651916cd43dd8448eb211c80319c', PARENT],
    )
  })

  test('is made once for many, by each name of the host', async (t) => {
    const { repeating, made } = await servers(t)
    const startedAt = performance.now()
    const bodies = await Promise.all(Array.from({ length: 50 }, () => ask(`${repeating}/metrics`)))
    const most = 1 + Math.floor((performance.now() - startedAt) / 200)
    assert.ok(made() <= most, `made ${made()} times`)
    assert.ok(new Set(bodies.map(({ body }) => body)).size <= most)
    const before = made()
    await ask(`${repeating}/metrics`, { Host: 'other.example' })
    assert.equal(made(), before + 1)
  })

  test('is not given any more once the readiness has changed', async (t) => {
    const port = fakePort()
    const { repeating } = await servers(t, port)
    assert.equal((await ask(`${repeating}/ready`)).status, 200)
    port.ready = 'draining'
    const drained = await ask(`${repeating}/ready`)
    assert.deepEqual([drained.status, drained.headers.connection], [503, 'close'])
    assert.equal((await ask(`${repeating}/live`)).headers.connection, 'close')
  })

  test('is the app’s own for every other request', async (t) => {
    const { repeating, made } = await servers(t)
    assert.equal((await ask(`${repeating}/nowhere`)).status, 404)
    assert.equal((await ask(`${repeating}/status`)).status, 200)
    const before = made()
    for (let n = 0; n < 3; n += 1) await ask(`${repeating}/metrics?n=${n}`)
    assert.equal(made(), before + 3)
    const head = await fetch(`${repeating}/ready`, { method: 'HEAD' })
    assert.deepEqual([head.status, await head.text()], [200, ''])
  })

  test('is not kept for more names than anybody has', async (t) => {
    const { repeating, made } = await servers(t)
    const names = Array.from({ length: 40 }, (_, n) => `host-${n}.example`)
    for (const Host of names) assert.equal((await ask(`${repeating}/metrics`, { Host })).status, 200)
    const before = made()
    await ask(`${repeating}/metrics`, { Host: 'host-39.example' })
    await ask(`${repeating}/metrics`, { Host: 'host-39.example' })
    assert.equal(made(), before + 2)
  })

  test('leaves no place to names that are refused', async (t) => {
    const { repeating, made } = await servers(t, fakePort(), '127.0.0.1')
    for (let n = 0; n < 40; n += 1)
      assert.equal((await ask(`${repeating}/metrics`, { Host: `host-${n}.example` })).status, 421)
    const startedAt = performance.now()
    for (let n = 0; n < 20; n += 1) assert.equal((await ask(`${repeating}/metrics`)).status, 200)
    const most = 1 + Math.floor((performance.now() - startedAt) / 200)
    assert.ok(made() <= most, `made ${made()} times`)
  })
})
