import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { EMPTY, fakeDashboard } from './dashboard/fixture.ts'
import { appOn, fakePort } from './fixture.ts'

const TOKEN = 'a-token-of-more-than-16'
const PARENT = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'

describe('the probes', () => {
  test('/live is 200 whatever the rest does', async () => {
    const { app } = appOn(fakePort({ ready: 'database_unavailable' }))
    assert.equal((await app.request('/live')).status, 200)
  })

  test('/ready says why it is not, without asking the database', async () => {
    const port = fakePort()
    const { app } = appOn(port)
    for (const ready of [
      'ready',
      'starting',
      'draining',
      'database_unavailable',
      'schema_incompatible',
    ] as const) {
      port.ready = ready
      const response = await app.request('/ready')
      assert.equal(response.status, ready === 'ready' ? 200 : 503)
      assert.deepEqual(await response.json(), { status: ready })
    }
    assert.equal(port.probes, 0)
  })

  test('tell the proxy to let go of the connection while draining', async () => {
    const port = fakePort()
    const { app } = appOn(port)
    assert.equal((await app.request('/live')).headers.get('connection'), null)
    port.ready = 'draining'
    assert.equal((await app.request('/live')).headers.get('connection'), 'close')
  })
})

describe('a trace', () => {
  test('is taken from X-Trace-ID and given back', async () => {
    const { app, lines } = appOn(fakePort())
    const response = await app.request('/live', { headers: { 'X-Trace-ID': 'order-7', traceparent: PARENT } })
    assert.deepEqual(
      [response.headers.get('x-trace-id'), response.headers.get('traceparent')],
      ['order-7', PARENT],
    )
    const [line = {}] = lines.json
    assert.deepEqual(
      [line['trace_id'], line['event'], line['path'], line['status']],
      ['order-7', 'http_request', '/live', 200],
    )
    assert.match(String(line['request_id']), /^[0-9a-f]{16}$/)
  })

  test('is taken from traceparent, or begun', async () => {
    const { app } = appOn(fakePort())
    const followed = await app.request('/live', {
      headers: { 'X-Trace-ID': 'no good!', traceparent: PARENT },
    })
    assert.equal(followed.headers.get('x-trace-id'), '0af7651916cd43dd8448eb211c80319c')
    const fresh = await app.request('/live')
    assert.match(fresh.headers.get('x-trace-id') ?? '', /^[0-9a-f]{32}$/)
    assert.match(fresh.headers.get('traceparent') ?? '', /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/)
  })
})

describe('a request line', () => {
  test('is debug for probes, info for others, error when we failed', async () => {
    const { app, lines } = appOn(fakePort({ document: () => Promise.reject(new Error('away')) }))
    for (const path of ['/ready', '/nothing', '/status']) await app.request(path)
    assert.deepEqual(
      lines.json.map(({ path, level }) => [path, level]),
      [
        ['/ready', 'debug'],
        ['/nothing', 'info'],
        ['/status', 'error'],
      ],
    )
  })

  test('holds neither query nor token', async () => {
    const { app, lines } = appOn(fakePort(), { dashboard: 'token', adminToken: TOKEN })
    await app.request(`/status?name=zoe`, { headers: { Authorization: `Bearer ${TOKEN}` } })
    assert.doesNotMatch(lines.text.join(''), /zoe|a-token/)
  })
})

describe('/status and /', () => {
  test('are there for everybody when public', async () => {
    const dashboard = fakeDashboard({ database: () => EMPTY })
    const { app } = appOn(fakePort(), {}, { dashboard })
    assert.deepEqual(await (await app.request('/status')).json(), { pollers: [] })
    const page = await app.request('/')
    assert.match(page.headers.get('content-type') ?? '', /^text\/html/)
    assert.match(page.headers.get('content-security-policy') ?? '', /default-src 'none'/)
    assert.match(await page.text(), /<h1>.*All is well\..*<\/h1>/)
  })

  test('do not exist when off', async () => {
    const { app } = appOn(fakePort(), { dashboard: 'off' })
    for (const path of ['/', '/status']) assert.equal((await app.request(path)).status, 404)
  })

  test('ask for the token', async () => {
    const { app } = appOn(fakePort(), { dashboard: 'token', adminToken: TOKEN })
    const ask = async (authorization?: string) =>
      (await app.request('/status', authorization === undefined ? {} : { headers: { authorization } })).status
    assert.deepEqual(
      await Promise.all([
        ask(),
        ask('Bearer wrong'),
        ask(`Basic ${TOKEN}`),
        ask(`Bearer ${TOKEN}x`),
        ask(`bearer ${TOKEN}`),
      ]),
      [401, 401, 401, 401, 200],
    )
  })

  test('tell a database failure by its class alone', async () => {
    const { app } = appOn(fakePort({ document: () => Promise.reject(new RangeError('secret')) }))
    const response = await app.request('/status')
    assert.equal(response.status, 503)
    assert.deepEqual(await response.json(), { error: 'RangeError', message: 'the database did not answer' })
  })

  test('end after the request limit', async () => {
    const { app } = appOn(fakePort({ document: () => new Promise(() => {}) }), { requestTimeoutMs: 20 })
    const response = await app.request('/status', { headers: { 'X-Trace-ID': 't' } })
    assert.equal(response.status, 504)
    assert.deepEqual(await response.json(), {
      error: 'timeout',
      message: 'no answer within 20 ms',
      trace_id: 't',
    })
  })
})

test('an unknown path is 404 in JSON', async () => {
  const response = await appOn(fakePort()).app.request('/nothing')
  assert.equal(response.status, 404)
  assert.deepEqual(await response.json(), { error: 'not_found', message: 'no such path: /nothing' })
})

test('what is thrown in a route never leaves the process', async () => {
  const { app, lines } = appOn(fakePort())
  app.get('/throws', () => {
    throw new RangeError('secret')
  })
  const response = await app.request('/throws')
  assert.equal(response.status, 500)
  assert.doesNotMatch((await response.text()) + lines.text.join(''), /secret/)
  assert.equal(lines.json[0]?.['class'], 'RangeError')
})
