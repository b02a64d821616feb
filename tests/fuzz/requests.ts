import assert from 'node:assert/strict'
import fc from 'fast-check'
import { Webhook } from 'standardwebhooks'
import type { Scope } from '../support/scope.ts'
import type { AnyProperty, Fuzzed, Target } from './target.ts'
import { anyText, textLike } from './texts.ts'
import { exchange, openWorld, SECRET, statusesIn, TOKEN } from './world.ts'
import type { World } from './world.ts'

/*
 * A real instance, over real sockets. Whatever is sent, it answers soon and with none of the 5xx, is alive afterwards, and has
 * said nothing on stderr but lines of its log.
 */

function onInstance(name: string, what: string, property: (world: World) => Promise<AnyProperty>): Target {
  return {
    name,
    what,
    async open(scope: Scope): Promise<Fuzzed> {
      const world = await openWorld(scope)
      const { instance } = world
      return {
        property: await property(world),
        async sound() {
          assert.deepEqual(instance.other, [], 'lines that are none of the log’s')
          const response = await fetch(`${instance.address}/health`)
          assert.equal(response.status, 200, await response.text())
          assert.deepEqual(
            instance.lines.filter(({ level }) => level === 'critical').map(({ msg }) => msg),
            [],
          )
        },
      }
    },
  }
}

/** A request as bytes. What is in its lines is cut at line ends; everything else goes as it is. */
function request(
  line: string,
  headers: readonly (readonly [name: string, value: string])[],
  body: Uint8Array = Buffer.alloc(0),
): Uint8Array {
  const lines = [line, ...headers.map(([name, value]) => `${name}: ${value.replace(/[\r\n\0]/g, ' ')}`)]
  return Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'utf8'), body])
}

/** Longer than any answer takes to begin, on a machine that has much else to do. */
const PATIENT_MS = 6_000
/** What is not whole will not be answered; that is seen soon. */
const BRIEF_MS = 40

async function expectNoFault(port: number, bytes: Uint8Array, isWhole: boolean): Promise<void> {
  const answer = await exchange(port, bytes, isWhole ? PATIENT_MS : BRIEF_MS)
  const statuses = statusesIn(answer)
  for (const status of statuses) assert.ok(status < 500, `${status}: ${answer.slice(0, 1_000)}`)
  if (isWhole) assert.notEqual(statuses.length, 0, 'no answer')
}

/** As it may stand in a request line, whatever it holds: encoded as it should be, or only so far that the line stays one. */
const inPath = (texts: fc.Arbitrary<string>): fc.Arbitrary<string> =>
  fc
    .tuple(texts, fc.boolean())
    .map(([text, whole]) =>
      whole ? encodeURIComponent(text.toWellFormed()) : text.slice(0, 4_000).replace(/[\0-\x20\x7f]/g, '+'),
    )

const anyHeader = (): fc.Arbitrary<[string, string]> =>
  fc.tuple(
    fc.oneof(
      fc.constantFrom(
        'Cookie',
        'Origin',
        'X-Trace-ID',
        'traceparent',
        'Accept',
        'X-Forwarded-Proto',
        'Fly-Client-IP',
        'From',
        'Authorization',
        'Content-Type',
        'Content-Encoding',
        'Sec-Fetch-Site',
        'webhook-id',
        'webhook-signature',
        'Expect',
        'Upgrade',
      ),
      fc.stringMatching(/^[a-z-]{1,12}$/),
    ),
    textLike(
      'text/html',
      'application/json; charset=utf-8',
      'https://shop.example',
      `tidemark_session=${'a'.repeat(20)}.${'b'.repeat(43)}; tidemark_said=x.y`,
      '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
      'multipart/form-data; boundary=x',
      '127.0.0.1:80',
      '100-continue',
      'h2c',
    ).map((text) => text.slice(0, 3_000)),
  )

const KEYS = [
  'q',
  'status',
  'source',
  'key',
  'error',
  'since',
  'until',
  'below',
  'span',
  'next',
  'poller',
  'outcome',
  'sent',
]
const TIMES = [
  '2026-03-01T08:00',
  '2026-02-31T00:00:00Z',
  '9999-12-31T23:59:59.999999+15:59',
  '1000-01-01T00:00',
]

const queries = onInstance(
  'queries',
  'addresses and headers: dashboard, /status, /health, /metrics',
  ({ port }) => {
    const value = inPath(
      textLike('DEAD', 'orders', '17', '999999999999999999', 'hour', 'RangeError', ...TIMES),
    )
    const path = fc.oneof(
      fc.constantFrom(
        '/',
        '/messages',
        '/messages/1',
        '/runs',
        '/jobs',
        '/history',
        '/verify',
        '/actions',
        '/login',
        '/tasks/letters',
      ),
      fc.constantFrom(
        '/status',
        '/health',
        '/metrics',
        '/ready',
        '/live',
        '/assets/0/x',
        '/admin/tasks/x/poll',
      ),
      value.map((text) => `/messages/${text}`),
      value.map((text) => `/tasks/${text}`),
      value.map((text) => `/${text}`),
    )
    const query = fc
      .array(fc.tuple(fc.oneof(fc.constantFrom(...KEYS), inPath(anyText())), value), { maxLength: 5 })
      .map((pairs) => pairs.map(([name, text]) => `${name}=${text}`).join('&'))
    const headers = fc.array(anyHeader(), { maxLength: 3 })
    return Promise.resolve(
      fc.asyncProperty(
        fc.constantFrom('GET', 'HEAD', 'OPTIONS'),
        path,
        query,
        headers,
        async (method, at, asked, more) => {
          const own: [string, string][] = [
            ['Host', 'a'],
            ['Connection', 'close'],
            ['Authorization', `Bearer ${TOKEN}`],
          ]
          await expectNoFault(port, request(`${method} ${at}?${asked} HTTP/1.1`, [...own, ...more]), true)
        },
      ),
    )
  },
)

const FIELDS = [
  'action',
  'id',
  'back',
  'from',
  'to',
  'include_forgotten',
  'name',
  'token',
  'next',
  'form_token',
]

const forms = onInstance('forms', 'forms of the dashboard, actions by /admin', async ({ instance, port }) => {
  const host = `127.0.0.1:${port}`
  const login = await fetch(`${instance.address}/login`, {
    method: 'POST',
    redirect: 'manual',
    body: new URLSearchParams({ name: 'Ann', token: TOKEN, next: '/' }),
  })
  const [cookie = ''] = (login.headers.getSetCookie()[0] ?? '').split(';')
  const page = await (
    await fetch(`${instance.address}/actions`, { headers: { cookie, accept: 'text/html' } })
  ).text()
  const formToken = /name="form_token" value="([^"]+)"/.exec(page)?.[1] ?? ''
  assert.notEqual(formToken, '')
  const value = textLike(
    'pause',
    'resume',
    'poll',
    'retry',
    'discard',
    'look',
    'replay',
    '17',
    '/messages',
    ...TIMES,
  )
  const fields = fc.array(fc.tuple(fc.oneof(fc.constantFrom(...FIELDS), anyText()), value), { maxLength: 6 })
  const path = fc.oneof(
    fc.constantFrom('/messages', '/tasks/letters', '/tasks/work', '/tasks/orders', '/verify', '/login'),
    inPath(value).map((text) => `/tasks/${text}`),
    inPath(value).map((text) => `/admin/tasks/${text}/poll`),
    fc
      .tuple(inPath(value), fc.constantFrom('pause', 'resume', 'retry'))
      .map(([text, verb]) => `/admin/tasks/${text}/${verb}`),
    fc
      .tuple(inPath(value), fc.constantFrom('retry', 'discard'))
      .map(([text, verb]) => `/admin/inbox/${text}/${verb}`),
  )
  return fc.asyncProperty(
    path,
    fields,
    fc.boolean(),
    fc.array(anyHeader(), { maxLength: 2 }),
    async (at, given, ours, more) => {
      const form = new URLSearchParams(
        given.map(([name, text]): [string, string] => [name, text.toWellFormed().slice(0, 10_000)]),
      )
      if (ours) form.append('form_token', formToken)
      const body = Buffer.from(form.toString())
      const own: [string, string][] = [
        ['Host', host],
        ['Connection', 'close'],
        ['Origin', `http://${host}`],
        ['Cookie', cookie],
        ['Authorization', `Bearer ${TOKEN}`],
        ['Content-Type', 'application/x-www-form-urlencoded'],
        ['Content-Length', String(body.length)],
      ]
      await expectNoFault(port, request(`POST ${at} HTTP/1.1`, [...own, ...more], body), true)
    },
  )
})

const MESSAGES = [
  '{"message_id":"a","group_key":"k","payload":{"n":1.10,"list":[1e2,true,null,"\\u00e9"]}}',
  '[{"message_id":"b","payload":1},{"message_id":"c","payload":"\\ud83c\\udf0a"}]',
  `{"message_id":"d","payload":${'['.repeat(64)}${']'.repeat(64)}}`,
]

const intake = onInstance('intake', 'what is sent to /inbox and stored, by token and signed', ({ port }) => {
  const body = fc.oneof(
    textLike(...MESSAGES).map((text) => Buffer.from(text)),
    fc
      .tuple(anyText(), anyText(), fc.json())
      .map(([id, key, payload]) =>
        Buffer.from(
          `{"message_id":${JSON.stringify(id)},"group_key":${JSON.stringify(key)},"payload":${payload}}`,
        ),
      ),
    fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
  )
  const source = fc.oneof(fc.constantFrom('orders', 'signed', 'letters', ''), inPath(anyText()))
  const framed = fc.constantFrom('length', 'chunked', 'wrong length', 'none')
  const webhook = new Webhook(SECRET)
  return Promise.resolve(
    fc.asyncProperty(
      source,
      body,
      framed,
      fc.boolean(),
      fc.array(anyHeader(), { maxLength: 3 }),
      async (to, bytes, way, signed, more) => {
        const at = new Date()
        const leave: [string, string][] = signed
          ? [
              ['webhook-id', 'm'],
              ['webhook-timestamp', String(Math.floor(at.getTime() / 1000))],
              ['webhook-signature', webhook.sign('m', at, bytes.toString())],
            ]
          : [['Authorization', `Bearer ${TOKEN}`]]
        const length = way === 'wrong length' ? bytes.length + 7 : bytes.length
        const frame: [string, string][] =
          way === 'chunked'
            ? [['Transfer-Encoding', 'chunked']]
            : way === 'none'
              ? []
              : [['Content-Length', String(length)]]
        const chunked = Buffer.concat([
          Buffer.from(`${bytes.length.toString(16)}\r\n`),
          bytes,
          Buffer.from('\r\n0\r\n\r\n'),
        ])
        const own: [string, string][] = [
          ['Host', 'a'],
          ['Connection', 'close'],
          ['Content-Type', 'application/json'],
          ...leave,
        ]
        const sent = request(
          `POST /inbox/${to} HTTP/1.1`,
          [...own, ...frame, ...more],
          way === 'chunked' ? chunked : bytes,
        )
        await expectNoFault(port, sent, way !== 'wrong length')
      },
    ),
  )
})

const RAW = [
  'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
  `POST /inbox/orders HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${TOKEN}\r\nContent-Length: 33\r\n\r\n{"message_id":"raw","payload":1}\r\n`,
  `POST /inbox/orders HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${TOKEN}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"mes\r\n0\r\n\r\n`,
  'GET /status HTTP/1.0\r\n\r\nGET /live HTTP/1.1\r\nHost: a\r\n\r\n',
  'OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n',
  'CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n',
  'GET http://b/live HTTP/1.1\r\nHost: [::1\r\n\r\n',
  'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
  'GET /ready HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n',
  '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
]

const sockets = onInstance('sockets', 'raw bytes on connections', ({ port }) => {
  const bytes = fc.oneof(
    textLike(...RAW).map((text) => Buffer.from(text, 'latin1')),
    fc.uint8Array({ maxLength: 2_000 }).map((raw) => Buffer.from(raw)),
  )
  return Promise.resolve(fc.asyncProperty(bytes, (raw) => expectNoFault(port, raw, false)))
})

export const REQUESTS: readonly Target[] = [queries, forms, intake, sockets]
