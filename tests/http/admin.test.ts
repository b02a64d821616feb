import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { MessageRefused, MessageUnknown, PollerPaused, TaskUnknown } from '../../src/errors.ts'
import type { AdminPort } from '../../src/http/adminPort.ts'
import { EMPTY, fakeDashboard } from './dashboard/fixture.ts'
import { appOn, fakePort } from './fixture.ts'

const TOKEN = 'a-token-of-more-than-16'

/** Keeps what it is asked; `answer` may throw. */
function adminOn(answer: () => string = () => '7', adminToken: string | null = TOKEN) {
  const asked: string[] = []
  const ask = async (...what: readonly string[]): Promise<string> => {
    asked.push(what.join(' '))
    return Promise.resolve().then(answer)
  }
  const admin: AdminPort = {
    pause: (task, paused, who) => ask(paused ? 'pause' : 'resume', task, who),
    poll: (poller, who) => ask('poll', poller, who),
    change: (action, id, who) => ask(action, id, who),
  }
  const { app, lines } = appOn(fakePort(), { adminToken: adminToken ?? undefined }, { admin })
  const post = (path: string, headers: Record<string, string> = { Authorization: `Bearer ${TOKEN}` }) =>
    app.request(`/admin/${path}`, { method: 'POST', headers })
  return { app, lines, asked, post }
}

describe('an operator’s request', () => {
  test('is heard with the token, and answered with the number of the action', async () => {
    const { post, asked } = adminOn()
    for (const path of [
      'tasks/orders/pause',
      'tasks/orders/resume',
      'tasks/orders/poll',
      'inbox/42/retry',
      'inbox/42/discard',
    ]) {
      const response = await post(path)
      assert.equal(response.status, 202, path)
      const body = (await response.json()) as { action_id: number; trace_id: string }
      assert.equal(body.action_id, 7)
      assert.equal(body.trace_id, response.headers.get('x-trace-id'))
    }
    const who = 'ADMIN_TOKEN'
    assert.deepEqual(asked, [
      `pause orders ${who}`,
      `resume orders ${who}`,
      `poll orders ${who}`,
      `retry 42 ${who}`,
      `discard 42 ${who}`,
    ])
  })

  test('names whoever acts by the header From, of which only what can be printed is kept', async () => {
    const { post, asked } = adminOn()
    const from = `ann@example.org ${'x'.repeat(200)}`
    await post('tasks/orders/pause', { Authorization: `Bearer ${TOKEN}`, From: 'b\u00e9a@example.org' })
    await post('tasks/orders/pause', { Authorization: `Bearer ${TOKEN}`, From: from })
    assert.deepEqual(asked, ['pause orders ba@example.org', `pause orders ${from.slice(0, 100)}`])
  })

  test('without the token, or with another, is refused before anything is looked at', async () => {
    const { post, asked } = adminOn()
    const wrong: Record<string, string>[] = [
      {},
      { Authorization: 'Bearer' },
      { Authorization: `Bearer ${TOKEN}x` },
      { Authorization: `Bearer ${TOKEN.slice(1)}` },
      { Authorization: `Basic ${TOKEN}` },
      { Cookie: `token=${TOKEN}` },
    ]
    for (const headers of wrong) {
      for (const path of ['tasks/orders/pause', 'inbox/42/retry', 'nothing']) {
        const response = await post(path, headers)
        assert.equal(response.status, 401, path)
        assert.equal(response.headers.get('www-authenticate'), 'Bearer')
      }
    }
    assert.deepEqual(asked, [])
  })

  test('is no path at all where there is no token', async () => {
    const { post, asked } = adminOn(undefined, null)
    assert.equal((await post('tasks/orders/pause')).status, 404)
    assert.deepEqual(asked, [])
  })

  test('for what there is not, or by another method, is 404', async () => {
    const { app, post, asked } = adminOn()
    for (const path of ['tasks/orders/stop', 'tasks/orders', 'inbox/42/delete'])
      assert.equal((await post(path)).status, 404)
    for (const id of ['0', '-1', 'abc', '1e3', '9'.repeat(19), '4%202'])
      assert.equal((await post(`inbox/${id}/retry`)).status, 404, id)
    const headers = { Authorization: `Bearer ${TOKEN}` }
    assert.equal((await app.request('/admin/tasks/orders/pause', { headers })).status, 404)
    assert.deepEqual(asked, [])
  })

  const answers: [name: string, error: Error, status: number, message: RegExp][] = [
    ['an unknown task', new TaskUnknown('x', ['orders']), 404, /there are orders/],
    ['an unknown message', new MessageUnknown('42'), 404, /no message 42/],
    ['a poller that is paused', new PollerPaused('orders', 'ann'), 409, /paused by ann/],
    [
      'a message in another state',
      new MessageRefused('42', 'DONE', 'retry', ['DEAD']),
      409,
      /42 is DONE: retry is for/,
    ],
    ['a database that is away', new Error('connect to 10.0.0.7 failed'), 503, /the database did not do it/],
  ]
  for (const [name, error, status, message] of answers) {
    test(`for ${name} is ${status}`, async () => {
      const { post } = adminOn(() => {
        throw error
      })
      const response = await post('tasks/orders/poll')
      assert.equal(response.status, status)
      const text = await response.text()
      assert.match(text, message)
      assert.doesNotMatch(text, /10\.0\.0\.7/)
    })
  }
})

describe('with OPS_PORT', () => {
  const statuses = async (serves: 'the public' | 'operators'): Promise<Record<string, number>> => {
    const { app } = appOn(
      fakePort(),
      { adminToken: TOKEN, dashboard: 'public' },
      { admin: adminPort, serves, dashboard: fakeDashboard({ database: () => EMPTY }) },
    )
    const found: Record<string, number> = {}
    for (const path of ['/live', '/ready', '/health', '/', '/status'])
      found[path] = (await app.request(path)).status
    const post = { method: 'POST', headers: { Authorization: `Bearer ${TOKEN}` } }
    found['/admin'] = (await app.request('/admin/tasks/orders/pause', post)).status
    return found
  }
  const adminPort: AdminPort = {
    pause: () => Promise.resolve('1'),
    poll: () => Promise.resolve('1'),
    change: () => Promise.resolve('1'),
  }

  test('the port of the public answers the probes, and nothing of operators', async () => {
    const none = { '/': 404, '/status': 404, '/admin': 404 }
    assert.deepEqual(await statuses('the public'), { '/live': 200, '/ready': 200, '/health': 200, ...none })
  })

  test('the port of the operators answers both', async () => {
    const all = { '/': 200, '/status': 200, '/admin': 202 }
    assert.deepEqual(await statuses('operators'), { '/live': 200, '/ready': 200, '/health': 200, ...all })
  })
})
