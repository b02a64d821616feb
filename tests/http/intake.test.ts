import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Webhook } from 'standardwebhooks'
import { appOn, fakePort } from './fixture.ts'
import { fakeIntake, SECRET, TOKEN } from './intakes.ts'
import type { FakeIntake } from './intakes.ts'

const ALLOWED = 'https://shop.example'
const PARENT = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
const message = { message_id: 'a', payload: { n: 1 } }

interface Sent {
  readonly path?: string
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: RequestInit['body']
  readonly intake?: FakeIntake
  readonly ready?: Parameters<typeof fakePort>[0]
  readonly settings?: Parameters<typeof appOn>[1]
}

/** Sends one request as a good sender would, but for what the test changes. An empty header is left out. */
async function send(sent: Sent = {}) {
  const { path = '/inbox/orders', method = 'POST', intake = fakeIntake() } = sent
  const { app, lines } = appOn(
    fakePort(sent.ready),
    { intakeToken: TOKEN, corsOrigins: [ALLOWED], ...sent.settings },
    { intake },
  )
  const headers = { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json', ...sent.headers }
  const response = await app.request(`http://intake.example${path}`, {
    method,
    headers: Object.entries(headers).filter(([, value]) => value !== ''),
    ...(method === 'POST' ? { body: sent.body ?? JSON.stringify(message) } : {}),
    duplex: 'half',
  })
  const text = await response.text()
  const body = (text === '' ? {} : JSON.parse(text)) as Record<string, unknown>
  return { status: response.status, headers: response.headers, body, lines, intake }
}

/** What a refused sender is told; `taken` shows that nothing went further. */
async function refused(sent: Sent): Promise<unknown[]> {
  const { status, body, intake } = await send(sent)
  assert.deepEqual(intake.taken, [])
  return [status, body['error'], body['field']]
}

describe('what is taken in', () => {
  test('one message, or an array of them, is answered with 202 and counts', async () => {
    const one = await send()
    assert.equal(one.status, 202)
    assert.deepEqual(
      [one.body['accepted'], one.body['duplicates'], one.body['trace_id']],
      [1, 0, one.headers.get('x-trace-id')],
    )
    const [request] = one.intake.taken
    assert.deepEqual(request?.messages, [{ messageId: 'a', groupKey: null, payload: '{"n":1}' }])
    const many = await send({
      body: JSON.stringify([
        { ...message, group_key: 'g' },
        { message_id: 'b', payload: null },
      ]),
    })
    assert.deepEqual(many.intake.taken[0]?.messages, [
      { messageId: 'a', groupKey: 'g', payload: '{"n":1}' },
      { messageId: 'b', groupKey: null, payload: 'null' },
    ])
    assert.equal((await send({ body: '[]' })).status, 202)
  })

  test('the trace of the request goes with it', async () => {
    const { intake, headers } = await send({ headers: { 'x-trace-id': 'order-7', traceparent: PARENT } })
    assert.deepEqual([intake.taken[0]?.traceId, intake.taken[0]?.traceparent], ['order-7', PARENT])
    assert.equal(headers.get('x-trace-id'), 'order-7')
  })

  test('its line has the status and the trace, and nothing of what was sent', async () => {
    const { lines } = await send({
      headers: { 'x-trace-id': 'order-7' },
      body: JSON.stringify({ message_id: 'zoe', payload: 'zoe' }),
    })
    const [line = {}] = lines.json
    assert.deepEqual([line['event'], line['status'], line['trace_id']], ['intake_accepted', 202, 'order-7'])
    assert.doesNotMatch(lines.text.join(''), /zoe|a-token/)
  })
})

describe('who may send', () => {
  test('whoever has the token or a signature', async () => {
    assert.deepEqual(await refused({ headers: { authorization: '' } }), [
      401,
      'unauthorized',
      'Authorization',
    ])
    assert.deepEqual(await refused({ headers: { authorization: `Bearer ${TOKEN}x` } }), [
      401,
      'unauthorized',
      'Authorization',
    ])
    // Signed requests are for those intakes that have a secret.
    const signed = signature(JSON.stringify(message))
    assert.equal(
      (await send({ path: '/inbox/signed', headers: { ...signed, authorization: '' } })).status,
      202,
    )
    assert.deepEqual(await refused({ headers: { ...signed, authorization: '' } }), [
      401,
      'unauthorized',
      'Authorization',
    ])
  })

  test('a signature over another body, or of an hour ago, is none', async () => {
    const at = new Date(Date.now() - 3_600_000)
    for (const headers of [
      signature('{}'),
      signature(JSON.stringify(message), at),
      { 'webhook-signature': 'v1,' },
    ]) {
      assert.deepEqual(await refused({ path: '/inbox/signed', headers: { ...headers, authorization: '' } }), [
        401,
        'unauthorized',
        'webhook-signature',
      ])
    }
  })

  test('an intake without token and signature is off, and an unknown one is told to whoever may send', async () => {
    const settings = { intakeToken: undefined }
    assert.deepEqual(await refused({ settings }), [404, 'intake_off', undefined])
    assert.deepEqual(await refused({ path: '/inbox/nothing' }), [404, 'unknown_source', 'source'])
    const stranger = { authorization: '' }
    assert.deepEqual(await refused({ path: '/inbox/nothing', headers: stranger }), [
      401,
      'unauthorized',
      'Authorization',
    ])
  })
})

describe('pages of other origins', () => {
  test('are let in by CORS_ORIGINS, and told so before they send', async () => {
    const preflight = await send({
      method: 'OPTIONS',
      headers: { origin: ALLOWED, authorization: '', 'access-control-request-method': 'POST' },
    })
    assert.equal(preflight.status, 204)
    assert.equal(preflight.headers.get('access-control-allow-origin'), ALLOWED)
    assert.equal(preflight.headers.get('access-control-allow-methods'), 'POST')
    assert.match(preflight.headers.get('access-control-allow-headers') ?? '', /Authorization/)
    assert.match(preflight.headers.get('vary') ?? '', /Origin/)
    const leaving = await send({ headers: { origin: ALLOWED }, ready: { ready: 'draining' } })
    assert.equal(leaving.headers.get('access-control-allow-origin'), ALLOWED)
    for (const status of [202, 401]) {
      const sent = await send({
        headers: { origin: ALLOWED, ...(status === 401 ? { authorization: '' } : {}) },
      })
      assert.equal(sent.status, status)
      assert.equal(sent.headers.get('access-control-allow-origin'), ALLOWED)
      assert.match(sent.headers.get('vary') ?? '', /Origin/)
    }
  })

  test('are refused by name otherwise, and none is let in without CORS_ORIGINS', async () => {
    const other = { origin: 'https://evil.example' }
    assert.deepEqual(await refused({ headers: other }), [403, 'origin_not_allowed', 'Origin'])
    const { status, headers } = await send({ method: 'OPTIONS', headers: other })
    assert.equal(status, 403)
    assert.equal(headers.get('access-control-allow-origin'), null)
    assert.match(headers.get('vary') ?? '', /Origin/)
    const settings = { corsOrigins: [] }
    assert.deepEqual(await refused({ headers: { origin: ALLOWED }, settings }), [
      403,
      'origin_not_allowed',
      'Origin',
    ])
    // A page of our own address crosses no origin.
    const own = { origin: 'http://intake.example', host: 'intake.example' }
    assert.equal((await send({ headers: own, settings })).status, 202)
  })

  test('the rest of the server knows nothing of them', async () => {
    const { app } = appOn(fakePort(), { corsOrigins: [ALLOWED] }, { intake: fakeIntake() })
    const response = await app.request('/status', { headers: { origin: ALLOWED } })
    assert.equal(response.headers.get('access-control-allow-origin'), null)
  })
})

describe('a request that is not right', () => {
  for (const [what, sent, expected] of [
    ['another method', { method: 'GET' }, [405, 'method_not_allowed', undefined]],
    [
      'a form',
      { headers: { 'content-type': 'application/x-www-form-urlencoded' } },
      [415, 'unsupported', 'Content-Type'],
    ],
    [
      'another encoding',
      { headers: { 'content-type': 'application/json; charset=latin1' } },
      [415, 'unsupported', 'Content-Type'],
    ],
    [
      'a compressed body',
      { headers: { 'content-encoding': 'gzip' } },
      [415, 'unsupported', 'Content-Encoding'],
    ],
    [
      'a body that announces too much',
      { headers: { 'content-length': '2000000' } },
      [413, 'too_large', 'body'],
    ],
    [
      'a body that is too long and announces nothing',
      { body: streamOf('x'.repeat(1_500_000)) },
      [413, 'too_large', 'body'],
    ],
    ['a small intake', { path: '/inbox/signed', body: 'x'.repeat(2_000) }, [413, 'too_large', 'body']],
    ['no body', { body: '' }, [400, 'invalid', 'body']],
    ['bytes that are no text', { body: new Uint8Array([0x22, 0xff, 0x22]) }, [400, 'invalid', 'body']],
  ] as const satisfies [string, Sent, unknown[]][]) {
    test(`${what}: ${expected[0]}`, async () => {
      assert.deepEqual(await refused(sent), expected)
    })
  }

  test('is one whose body does not come in time', async () => {
    const body = new ReadableStream({
      start: (controller) => controller.enqueue(new TextEncoder().encode('[')),
    })
    assert.deepEqual(await refused({ body, settings: { requestTimeoutMs: 20 } }), [408, 'timeout', 'body'])
  })

  test('is one that PostgreSQL refuses', async () => {
    const intake = fakeIntake({ answer: { kind: 'refused', reason: 'DatabaseError: no' } })
    const { status, body } = await send({ intake })
    assert.deepEqual([status, body['error'], body['message']], [400, 'invalid', 'body: DatabaseError: no'])
  })
})

test('what was answered is held no longer, however much was sent', async () => {
  const { app } = appOn(fakePort(), { intakeToken: TOKEN }, { intake: fakeIntake() })
  const headers = { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' }
  for (let sent = 0; sent < 70; sent += 1) {
    // Half of them are refused, which ends their being held as well.
    const body = `{"message_id":"a","payload":"${'x'.repeat(2 ** 20 - 100)}"${sent % 2 === 0 ? '}' : ''}`
    const { status } = await app.request('/inbox/orders', { method: 'POST', headers, body })
    assert.equal(status, sent % 2 === 0 ? 202 : 400)
  }
})

test('what is thrown behind the door never leaves the process', async () => {
  const intake = { ...fakeIntake(), take: () => Promise.reject(new RangeError('secret')) }
  const { status, body, lines } = await send({ intake })
  assert.deepEqual([status, body['error']], [500, 'internal'])
  assert.doesNotMatch(JSON.stringify(body) + lines.text.join(''), /secret/)
})

describe('a request that comes at the wrong time', () => {
  test('is told to come again while the instance leaves', async () => {
    const { status, headers, body, intake } = await send({ ready: { ready: 'draining' } })
    assert.equal(status, 503)
    assert.ok(headers.has('retry-after'))
    assert.equal(headers.get('connection'), 'close')
    assert.deepEqual(body, { error: 'shutting_down', message: 'Service shutting down, please retry' })
    assert.deepEqual(intake.taken, [])
  })

  test('is told to come again when something is in its way, before its body is read', async () => {
    const hindrance = { error: 'database_unavailable', message: 'away' }
    const { status, headers, body } = await send({ intake: fakeIntake({ hindrance }), body: 'no JSON' })
    assert.deepEqual([status, body['error'], headers.has('retry-after')], [503, 'database_unavailable', true])
    const late = await send({
      intake: fakeIntake({ answer: { kind: 'later', error: 'busy', message: 'short' } }),
    })
    assert.deepEqual([late.status, late.body['error'], late.headers.has('retry-after')], [503, 'busy', true])
  })
})

function signature(body: string, at = new Date()): Record<string, string> {
  return {
    'webhook-id': 'msg_1',
    'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
    'webhook-signature': new Webhook(SECRET).sign('msg_1', at, body),
  }
}

function streamOf(text: string): ReadableStream {
  return new Blob([text]).stream()
}
