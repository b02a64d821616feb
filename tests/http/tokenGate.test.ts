import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Hono } from 'hono'
import { callerAt } from '../../src/http/caller.ts'
import { createTokenGate } from '../../src/http/tokenGate.ts'
import type { Judgement, Way } from '../../src/http/tokenGate.ts'
import { serve } from '../../src/http/server.ts'
import { appOn, fakePort } from './fixture.ts'
import { fakeIntake, TOKEN } from './intakes.ts'
import { fakeDashboard } from './dashboard/fixture.ts'

/** A gate of an instance on Fly.io, whose proxy says where each request is from. */
function gateOn(now = () => 0) {
  const gate = createTokenGate(TOKEN, true, now)
  return async (from: string, given = 'wrong', way: Way = 'header') => {
    let judged: Judgement | undefined
    const app = new Hono().get('/', (context) => {
      judged = gate.judge(context, given, way)
      return context.body(null)
    })
    await app.request('/', { headers: { 'Fly-Client-IP': from } })
    assert.ok(judged !== undefined)
    return judged.is === 'unheard' ? judged.waitS : judged.is
  }
}

const PUBLIC = '203.0.113.7'
const many = async (times: number, of: () => Promise<unknown>): Promise<void> => {
  for (let n = 0; n < times; n += 1) assert.equal(await of(), 'wrong')
}

describe('wrong tokens', () => {
  test('hold up one place for a minute, the right token too, and no other place', async () => {
    let now = 0
    const from = gateOn(() => now)
    await many(5, () => from(PUBLIC))
    assert.equal(await from(PUBLIC), 60)
    assert.equal(await from(PUBLIC, TOKEN), 60)
    assert.equal(await from('203.0.113.8', TOKEN), 'right')
    now = 60_000
    assert.equal(await from(PUBLIC, TOKEN), 'right')
  })

  test('count whichever way they came, and are forgotten when the right one comes', async () => {
    const from = gateOn()
    await many(2, () => from(PUBLIC, 'wrong', 'form'))
    await many(2, () => from(PUBLIC, 'wrong', 'header'))
    assert.equal(await from(PUBLIC, TOKEN, 'form'), 'right')
    await many(5, () => from(PUBLIC))
    assert.equal(await from(PUBLIC, TOKEN, 'form'), 60)
  })

  test('of one IPv6 network are counted together', async () => {
    const from = gateOn()
    for (let n = 1; n <= 5; n += 1) assert.equal(await from(`2001:db8:7:1::${n}`), 'wrong')
    assert.equal(await from('2001:db8:7:1:ffff::1', TOKEN), 60)
    assert.equal(await from('2001:db8:7:2::1', TOKEN), 'right')
  })

  test('from an address that many may share lock out no program, and only the form', async () => {
    for (const shared of ['127.0.0.1', '10.1.2.3', '::1', 'fdaa:0:1::3', 'no address']) {
      const from = gateOn()
      await many(9, () => from(shared))
      assert.equal(await from(shared, TOKEN, 'header'), 'right', shared)
      await many(5, () => from(shared))
      assert.equal(await from(shared, TOKEN, 'form'), 60, shared)
    }
  })

  test('from an address that a sender has, too, do not keep that sender out', async () => {
    const from = gateOn()
    assert.equal(await from(PUBLIC, TOKEN), 'right')
    await many(9, () => from(PUBLIC))
    assert.equal(await from(PUBLIC, TOKEN), 'right')
    await many(5, () => from(PUBLIC))
    assert.equal(await from(PUBLIC, TOKEN, 'form'), 60)
    await many(5, () => from('203.0.113.8'))
    assert.equal(await from('203.0.113.8', TOKEN), 60)
  })

  test('of many places are remembered up to a limit', async () => {
    const from = gateOn()
    await many(5, () => from(PUBLIC))
    const address = (n: number): string => `198.${n >> 16}.${(n >> 8) & 255}.${n & 255}`
    for (let n = 0; n < 10_000; n += 1) await from(address(n))
    assert.equal(await from(PUBLIC, TOKEN), 'right')
  })
})

test('a caller is an address, an IPv6 network, or nobody known', () => {
  const place = (address: string | undefined) => callerAt(address).place
  assert.equal(place('::ffff:203.0.113.7'), PUBLIC)
  assert.equal(place('2001:DB8::1'), '2001:db8:0:0::/64')
  assert.equal(place('fe80::1%eth0'), 'fe80:0:0:0::/64')
  assert.equal(place('2001:db8:0:1:2:3:4:5'), '2001:db8:0:1::/64')
  for (const odd of [undefined, '', 'x', '1.2.3', '203.0.113.7, 10.0.0.1'])
    assert.equal(place(odd), 'unknown')
  assert.equal(callerAt(PUBLIC).isShared, false)
  assert.equal(callerAt('::ffff:10.0.0.1').isShared, true)
})

describe('every way in', () => {
  const headers = (token: string) => ({
    Authorization: `Bearer ${token}`,
    'Fly-Client-IP': PUBLIC,
    'Content-Type': 'application/json',
  })
  const admin = {
    pause: () => Promise.resolve('1'),
    poll: () => Promise.resolve('1'),
    change: () => Promise.resolve('1'),
  }
  const settings = { dashboard: 'token', adminToken: TOKEN, intakeToken: TOKEN, machineId: 'm1' } as const
  const appNow = () =>
    appOn(fakePort(), settings, { admin, intake: fakeIntake(), dashboard: fakeDashboard() }).app
  const body = '{"message_id":"a","payload":1}'

  for (const [path, init] of [
    ['/status', {}],
    ['/messages', {}],
    ['/admin/tasks/orders/pause', { method: 'POST' }],
    ['/inbox/orders', { method: 'POST', body }],
  ] as const)
    test(`${path} answers 429 with Retry-After after five wrong tokens from one place`, async () => {
      const app = appNow()
      for (let n = 0; n < 5; n += 1)
        assert.equal((await app.request(path, { ...init, headers: headers('wrong') })).status, 401)
      const refused = await app.request(path, { ...init, headers: headers(TOKEN) })
      assert.equal(refused.status, 429)
      assert.match(refused.headers.get('retry-after') ?? '', /^\d+$/)
      const elsewhere = { ...headers(TOKEN), 'Fly-Client-IP': '203.0.113.8' }
      assert.ok((await app.request(path, { ...init, headers: elsewhere })).status !== 429)
    })

  test('of a public dashboard counts a request once', async () => {
    const publicly = { ...settings, dashboard: 'public', host: '0.0.0.0' } as const
    const { app } = appOn(fakePort(), publicly, { admin, dashboard: fakeDashboard() })
    for (let n = 0; n < 4; n += 1) await app.request('/history', { headers: headers('wrong') })
    const right = await app.request('/admin/tasks/x/pause', { method: 'POST', headers: headers(TOKEN) })
    assert.equal(right.status, 202)
  })

  test('of operators shares one count, and that of senders has its own', async () => {
    const app = appNow()
    for (const path of ['/status', '/messages', '/status', '/admin/tasks/x/poll', '/admin/inbox/1/retry'])
      await app.request(path, {
        method: path.startsWith('/admin') ? 'POST' : 'GET',
        headers: headers('wrong'),
      })
    assert.equal((await app.request('/status', { headers: headers(TOKEN) })).status, 429)
    const sent = await app.request('/inbox/orders', { method: 'POST', body, headers: headers(TOKEN) })
    assert.equal(sent.status, 202)
  })
})

test('a real connection is counted by its own address, whatever it says of itself', async (t) => {
  const { app } = appOn(fakePort(), { dashboard: 'token', adminToken: TOKEN }, { dashboard: fakeDashboard() })
  const server = await serve(app, { host: '127.0.0.1', port: 0, tryNext: false })
  t.after(() => server.close(0))
  const login = (n: number, token: string) =>
    fetch(`${server.address}/login`, {
      method: 'POST',
      headers: { 'Fly-Client-IP': `203.0.113.${n}`, 'X-Forwarded-For': `203.0.113.${n}` },
      body: new URLSearchParams({ name: 'Eve', token }),
    }).then(({ status }) => status)
  for (let n = 0; n < 5; n += 1) assert.equal(await login(n, 'wrong'), 401)
  assert.equal(await login(9, TOKEN), 429)
})
