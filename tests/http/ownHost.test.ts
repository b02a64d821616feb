import assert from 'node:assert/strict'
import { request } from 'node:http'
import { describe, test } from 'node:test'
import type { AdminPort } from '../../src/http/adminPort.ts'
import type { AppOptions } from '../../src/http/app.ts'
import { serve } from '../../src/http/server.ts'
import { EMPTY, fakeDashboard, TOKEN } from './dashboard/fixture.ts'
import { appOn, fakePort } from './fixture.ts'

/* A page of evil.example may have its name lead to 127.0.0.1: for its browser it is then of the same origin as we are. */

const REBOUND = 'evil.example:8080'
const SHOWN = ['/', '/history', '/messages', '/status', '/now/events', '/metrics', '/login', '/no-such-path']

interface Asked {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: URLSearchParams
}

function hosted(settings: Partial<AppOptions['settings']>) {
  const done: string[] = []
  const record = (what: string): Promise<string> => Promise.resolve(String(done.push(what)))
  const admin: AdminPort = { pause: record, poll: record, change: (_action, id) => record(id) }
  const metrics = {
    contentType: 'text/plain',
    text: () => Promise.resolve('up 1'),
    requested: () => () => undefined,
  }
  const dashboard = fakeDashboard({ database: () => EMPTY })
  const { app } = appOn(
    fakePort(),
    { dashboard: 'public', adminToken: TOKEN, ...settings },
    { admin, metrics, dashboard },
  )
  const status = async (path: string, host: string, asked: Asked = {}): Promise<number> =>
    (await app.request(path, { ...asked, headers: { ...asked.headers, Host: host } })).status
  return { app, status, done }
}

describe('a public dashboard on the loopback', () => {
  test('is not shown to a name that leads here, which is told what to do', async () => {
    const { app, status } = hosted({})
    for (const path of SHOWN) assert.equal(await status(path, REBOUND), 421, path)
    const response = await app.request('/status', { headers: { Host: REBOUND } })
    const { error, message } = (await response.json()) as { error: string; message: string }
    assert.equal(error, 'misdirected')
    assert.match(message, /localhost, 127\.0\.0\.1, \[::1\].*ADMIN_TOKEN and DASHBOARD=token/)
    for (const host of [
      'localhost.evil.example',
      '127.0.0.1.evil.example',
      '10.0.0.7',
      '0.0.0.0',
      '[::2]',
      'evil@localhost',
      '',
    ])
      assert.equal(await status('/status', host), 421, host)
  })

  test('is shown under the names of this machine, with any port, and under the address that it listens on', async () => {
    const { status } = hosted({ host: '127.0.0.5' })
    for (const host of [
      'localhost',
      'LocalHost:8080',
      '127.0.0.1:81',
      '[::1]',
      '[::1]:8080',
      '127.0.0.5:8080',
    ])
      assert.equal(await status('/status', host), 200, host)
    assert.equal(await status('/status', '127.0.0.6'), 421)
    assert.equal(await hosted({ host: '::1' }).status('/metrics', '[::1]:8080'), 200)
  })

  test('does nothing for such a name either', async () => {
    const { status, done } = hosted({})
    const form = { method: 'POST', headers: { Origin: `http://${REBOUND}` }, body: new URLSearchParams() }
    for (const path of ['/login', '/logout', '/verify', '/messages', '/tasks/orders'])
      assert.equal(await status(path, REBOUND, form), 421, path)
    const bearer = { method: 'POST', headers: { Authorization: `Bearer ${TOKEN}` } }
    assert.equal(await status('/admin/tasks/orders/pause', REBOUND, bearer), 421)
    assert.deepEqual(done, [])
    assert.equal(await status('/admin/tasks/orders/pause', 'localhost', bearer), 202)
    assert.deepEqual(done, ['orders'])
  })

  test('answers probes under any name', async () => {
    const { status } = hosted({})
    for (const path of ['/live', '/ready', '/health']) assert.equal(await status(path, REBOUND), 200, path)
  })

  test('reads the name that was sent, not the address that it was sent to', async (t) => {
    const server = await serve(hosted({}).app, { host: '127.0.0.1', port: 0, tryNext: false })
    t.after(() => server.close(0))
    const ask = (host: string): Promise<number | undefined> =>
      new Promise((resolve, reject) => {
        request(`${server.address}/status`, { headers: { Host: host } }, (response) => {
          response.resume()
          resolve(response.statusCode)
        })
          .on('error', reject)
          .end()
      })
    assert.deepEqual([await ask(REBOUND), await ask(`localhost:${server.port}`)], [421, 200])
  })
})

test('behind a token, or on other addresses, the name says nothing', async () => {
  const bearer = { headers: { Authorization: `Bearer ${TOKEN}` } }
  assert.equal(await hosted({ dashboard: 'token' }).status('/status', 'ops.example', bearer), 200)
  assert.equal(await hosted({ host: '::' }).status('/status', 'ops.example'), 200)
})
