import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { startInstance } from '../support/instance.ts'
import { relay } from '../support/relay.ts'
import { until } from '../support/until.ts'

/*
 * Guests of all kinds at the door of one instance. Good traffic goes on beside all of them, and is what is judged in the end:
 * every request of it is answered with 202, and every message of it is processed.
 */
const TOKEN = 'a-token-of-more-than-16'
const CONFIG = `
  export default {
    intakes: { orders: {}, tiny: { maxBodyBytes: 100 } },
    processors: { packing: { from: ['orders', 'tiny'], contract: 'external', async handle({ payload }, { signal }) {
      while (payload === 'until the end' && !signal.aborted) await new Promise((done) => setTimeout(done, 20))
    } } },
  }`

type Guest = (
  path: string,
  body: string | ReadableStream,
  headers?: Record<string, string>,
) => Promise<Response>

async function world(t: TestContext, env: Record<string, string> = {}) {
  const database = await createDatabase(t)
  const way = await relay(t, database.url)
  await way.open()
  const instance = await startInstance(t, {
    databaseUrl: way.url,
    config: CONFIG,
    env: { INTAKE_TOKEN: TOKEN, CORS_ORIGINS: 'https://shop.example', ...env },
  })
  await instance.said('ready')
  const guest: Guest = (path, body, headers = {}) =>
    fetch(`${instance.address}${path}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json', ...headers },
      body,
      duplex: 'half',
    })
  return { database, way, instance, guest, pool: database.pool() }
}

/** Sends one message after the other until it is told to stop; every one is to be taken in. */
function goodTraffic(guest: Guest) {
  let sent = 0
  let slowestMs = 0
  const ending = new AbortController()
  const running = (async () => {
    while (!ending.signal.aborted) {
      const startedAt = performance.now()
      const response = await guest(
        '/inbox/orders',
        JSON.stringify({ message_id: `good ${sent}`, payload: sent }),
      )
      assert.equal(response.status, 202, await response.text())
      sent += 1
      slowestMs = Math.max(slowestMs, performance.now() - startedAt)
    }
  })()
  // Its failure is told by end().
  running.catch(() => undefined)
  return {
    get sent() {
      return sent
    },
    get slowestMs() {
      return slowestMs
    },
    async end() {
      ending.abort()
      await running
    },
  }
}

test('bad guests are told what is wrong, and good ones do not notice', async (t) => {
  const { instance, guest, pool } = await world(t, { REQUEST_TIMEOUT_SECONDS: '2' })
  const good = goodTraffic(guest)
  const payload = (json: string): string => `[{"message_id":"x","payload":${json}}]`
  const cases: [string, number, string | undefined, () => Promise<Response>][] = [
    ['a body of 2 MB', 413, 'body', () => guest('/inbox/orders', payload(`"${'x'.repeat(2_000_000)}"`))],
    ['one without a length', 413, 'body', () => unannounced(instance.address)],
    ['broken JSON', 400, 'body', () => guest('/inbox/orders', '{"message_id":')],
    [
      'the wrong token',
      401,
      'Authorization',
      () => guest('/inbox/orders', '[]', { authorization: 'Bearer no' }),
    ],
    ['an unknown source', 404, 'source', () => guest('/inbox/nothing', '[]')],
    ['NUL', 400, '[0].payload.a', () => guest('/inbox/orders', payload('{"a":"\\u0000"}'))],
    [
      'deep nesting',
      400,
      `[0].payload${'[0]'.repeat(64)}`.slice(0, 200),
      () => guest('/inbox/orders', payload('['.repeat(100_000) + ']'.repeat(100_000))),
    ],
    ['another origin', 403, 'Origin', () => guest('/inbox/orders', '[]', { origin: 'https://evil.example' })],
    ['a number beyond numeric', 400, '[0].payload', () => guest('/inbox/orders', payload('1e400000'))],
  ]
  for (let round = 0; round < 3; round += 1) {
    for (const [what, status, field, act] of cases) {
      const response = await act()
      const body = (await response.json()) as Record<string, unknown>
      assert.deepEqual([what, response.status, body['field']], [what, status, field])
      assert.equal(typeof body['message'], 'string')
      assert.equal(body['trace_id'], response.headers.get('x-trace-id'))
    }
  }

  await t.test('one that sends too slowly is cut off', async () => {
    const socket = connect(Number(new URL(instance.address).port), '127.0.0.1')
    let answer = ''
    let isClosed = false
    socket.on('data', (data) => (answer += data.toString()))
    socket.on('close', () => (isClosed = true))
    socket.on('error', () => undefined)
    socket.write(
      `POST /inbox/orders HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${TOKEN}\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n[`,
    )
    await until('the slow sender to be cut off', () => isClosed)
    assert.match(answer, /^HTTP\/1\.1 408 /)
    assert.match(answer, /"field":"body"/)
  })

  await until('some good traffic', () => good.sent >= 50)
  await good.end()
  await until('all of it to be done', async () => {
    const { rows } = await pool.query<{ n: number }>(
      `SELECT count(*)::int AS n FROM service_ops.integration_inbox WHERE status = 'DONE' AND message_id LIKE 'good%'`,
    )
    return rows[0]?.n === good.sent
  })
  const { rows } = await pool.query(
    `SELECT count(*)::int AS n FROM service_ops.integration_inbox WHERE message_id = 'x'`,
  )
  assert.deepEqual(rows, [{ n: 0 }])
})

test('bodies just below every limit hold nobody up, on the way in or out', async (t) => {
  const { guest, pool } = await world(t)
  const body = (json: string): string => `{"message_id":"x${costly}","payload":${json}}`
  let costly = 0
  // What would be 2.6 GB to whoever claims it is refused; as much as is allowed is claimed beside the good ones.
  const refused = await guest('/inbox/orders', body(`[${'1e131071,'.repeat(20_000)}1]`))
  assert.deepEqual([refused.status, ((await refused.json()) as { field: string }).field], [400, 'payload[0]'])
  const good = goodTraffic(guest)
  const keys = Array.from({ length: 40_000 }, (_, n) => `"k${n}":"\\u00fc"`).join(',')
  const costlyOnes = [
    `["\\u00fc",${'1,'.repeat(248_000)}1]`,
    `[${'1e5,'.repeat(248_000)}1]`,
    `[${'1.7e308,'.repeat(11_500)}${' '.repeat(800_000)}1]`,
    `[${'12345678901234567,'.repeat(55_000)}1]`,
    `"${'\\u00fc'.repeat(170_000)}"`,
    `{${keys}}`,
  ]
  for (const json of [...costlyOnes, ...costlyOnes, ...costlyOnes]) {
    costly += 1
    const response = await guest('/inbox/orders', body(json))
    assert.equal(response.status, 202, await response.text())
  }
  await until('more good traffic', () => good.sent >= 30)
  await good.end()
  await until('all of it to be done', async () => {
    const { rows } = await pool.query<{ n: number }>(
      `SELECT count(*)::int AS n FROM service_ops.integration_inbox WHERE status = 'DONE'`,
    )
    return rows[0]?.n === good.sent + costly
  })
  assert.ok(good.slowestMs < 2_000, `the slowest good request took ${good.slowestMs} ms`)
})

test('while the database is away nothing is taken in, and what is sent again is there once', async (t) => {
  const { way, guest, pool } = await world(t)
  const message = JSON.stringify({ message_id: 'a', payload: 1 })
  await way.cut()
  const errors = new Set<unknown>()
  await until('the outage to be known', async () => {
    const response = await guest('/inbox/orders', message)
    assert.equal(response.status, 503)
    assert.ok(response.headers.has('retry-after'))
    errors.add(((await response.json()) as { error: string }).error)
    return errors.has('database_unavailable')
  })
  await way.open()
  await until('it to be taken in', async () => (await guest('/inbox/orders', message)).status === 202)
  const again = (await (await guest('/inbox/orders', message)).json()) as { duplicates: number }
  assert.equal(again.duplicates, 1)
  const { rows } = await pool.query('SELECT count(*)::int AS n FROM service_ops.integration_inbox')
  assert.deepEqual(rows, [{ n: 1 }])
})

test('an instance that leaves refuses new requests, and answers those under way', async (t) => {
  const { instance, guest, pool } = await world(t, {
    DRAIN_TIMEOUT_SECONDS: '15',
    SHUTDOWN_TIMEOUT_SECONDS: '25',
  })
  // A message in work keeps it from having left at once.
  await guest('/inbox/orders', JSON.stringify({ message_id: 'slow', payload: 'until the end' }))
  await instance.said('message_picked')
  let controller: ReadableStreamDefaultController | undefined
  const body = new ReadableStream({ start: (made) => void (controller = made) })
  const write = (text: string): void => controller?.enqueue(new TextEncoder().encode(text))
  write('{"message_id":')
  const underWay = guest('/inbox/orders', body, { 'x-trace-id': 'under-way' })
  // Its first bytes are there when one that came after them is answered.
  for (let i = 0; i < 20; i += 1) await guest('/inbox/orders', '[]')
  instance.kill('SIGTERM')
  await instance.said('drain_started')
  const late = await guest('/inbox/orders', '[]')
  assert.equal(late.status, 503)
  assert.ok(late.headers.has('retry-after'))
  assert.equal(late.headers.get('connection'), 'close')
  assert.deepEqual(await late.json(), {
    error: 'shutting_down',
    message: 'Service shutting down, please retry',
  })

  write('"under way","payload":1}')
  controller?.close()
  assert.equal((await underWay).status, 202)
  const { code } = await instance.exited
  assert.equal(code, 0)
  const { rows } = await pool.query(
    `SELECT trace_id FROM service_ops.integration_inbox WHERE message_id = 'under way'`,
  )
  assert.deepEqual(rows, [{ trace_id: 'under-way' }])
})

test('an intake that nobody can send to says so at the start, with the remedy', async (t) => {
  const { instance, guest } = await world(t, { INTAKE_TOKEN: '' })
  const { msg } = await instance.said('intake_off', { source: 'orders' })
  assert.match(msg, /INTAKE_TOKEN .*intakes\.orders\.signature/)
  assert.equal((await guest('/inbox/orders', '[]')).status, 404)
})

async function unannounced(address: string): Promise<Response> {
  return fetch(`${address}/inbox/tiny`, {
    method: 'POST',
    headers: { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' },
    body: new Blob(['x'.repeat(200)]).stream(),
    duplex: 'half',
  })
}
