import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fakeDashboard } from './dashboard/fixture.ts'
import { appOn, fakePort } from './fixture.ts'
import { fakeIntake, TOKEN } from './intakes.ts'

const admin = {
  pause: () => Promise.resolve('1'),
  poll: () => Promise.resolve('1'),
  change: () => Promise.reject(new Error('away')),
}
const metrics = {
  contentType: 'text/plain',
  text: () => Promise.resolve('up 1'),
  requested: () => () => undefined,
}

/** Everything that can be asked for, and what each kind of answer is an answer to. */
const ASKED: readonly (readonly [path: string, status: number, init?: RequestInit])[] = [
  ['/live', 200],
  ['/ready', 200],
  ['/health', 200],
  ['/metrics', 200],
  ['/status', 401],
  ['/status', 303, { headers: { Accept: 'text/html' } }],
  ['/login', 200],
  ['/login', 401, { method: 'POST', body: new URLSearchParams({ token: 'wrong' }) }],
  ['/login', 413, { method: 'POST', body: 'x'.repeat(20_000) }],
  ['/assets/000000000000/dashboard.css', 404],
  ['/nothing', 404],
  ['/nothing', 404, { headers: { Accept: 'text/html' } }],
  ['/', 503, { headers: { Authorization: `Bearer ${TOKEN}` } }],
  ['/admin/tasks/x/pause', 401, { method: 'POST' }],
  ['/admin/tasks/x/pause', 202, { method: 'POST', headers: { Authorization: `Bearer ${TOKEN}` } }],
  ['/admin/inbox/1/retry', 503, { method: 'POST', headers: { Authorization: `Bearer ${TOKEN}` } }],
  ['/inbox/orders', 401, { method: 'POST' }],
  ['/inbox/orders', 403, { method: 'POST', headers: { Origin: 'https://evil.example' } }],
  ['/inbox/orders', 405],
  ['/throws', 500],
]

test('every answer may be neither framed, guessed at, kept nor loaded from, whatever it is', async () => {
  const settings = { dashboard: 'token', adminToken: TOKEN, intakeToken: TOKEN } as const
  const dashboard = fakeDashboard()
  const { app } = appOn(fakePort(), settings, { admin, metrics, dashboard, intake: fakeIntake() })
  app.get('/throws', () => {
    throw new RangeError('a fault of ours')
  })
  const page = await (await app.request('/login')).text()
  const files = [...page.matchAll(/(?:href|src)="(\/assets\/[^"]+)"/g)].map(([, path = '']) => path)
  assert.ok(files.length > 1)
  for (const [path, status, init] of [...ASKED, ...files.map((path) => [path, 200] as const)]) {
    const { headers, status: given } = await app.request(path, init)
    const what = `${init?.method ?? 'GET'} ${path} ${given}`
    assert.equal(given, status, what)
    const policy = headers.get('content-security-policy') ?? ''
    assert.ok(policy.includes("default-src 'none'") && policy.includes("frame-ancestors 'none'"), what)
    assert.equal(headers.get('x-content-type-options'), 'nosniff', what)
    assert.equal(headers.get('x-frame-options'), 'DENY', what)
    assert.equal(headers.get('referrer-policy'), 'same-origin', what)
    assert.equal(
      headers.get('cache-control'),
      files.includes(path) ? 'public, max-age=31536000, immutable' : 'no-store',
      what,
    )
    // Whoever ends TLS in front says this; from here it would bind a domain that is not ours.
    assert.equal(headers.get('strict-transport-security'), null, what)
  }
})
