import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { appOn, fakePort } from './fixture.ts'

const TYPE = 'text/plain; version=0.0.4; charset=utf-8'

function metricsPort() {
  let requests = 0
  const seen: number[] = []
  return {
    seen,
    port: {
      contentType: TYPE,
      text: () => {
        seen.push(requests)
        return Promise.resolve('tidemark_ready 1\n')
      },
      requested: () => {
        requests += 1
        return () => void (requests -= 1)
      },
    },
    requests: () => requests,
  }
}

describe('GET /metrics', () => {
  test('answers without the token of the dashboard, and when that is off, in the form that Prometheus asks for', async () => {
    for (const dashboard of ['token', 'off'] as const) {
      const { port } = metricsPort()
      const { app } = appOn(fakePort(), { dashboard, adminToken: 'a secret of operators' }, { metrics: port })
      const response = await app.request('/metrics')
      assert.equal(response.status, 200)
      assert.equal(response.headers.get('content-type'), TYPE)
      assert.equal(await response.text(), 'tidemark_ready 1\n')
      assert.equal((await app.request('/status')).status, dashboard === 'off' ? 404 : 401)
    }
  })

  test('is on OPS_PORT alone where that is set', async () => {
    const { port } = metricsPort()
    const outside = appOn(fakePort(), {}, { metrics: port, serves: 'the public' })
    assert.equal((await outside.app.request('/metrics')).status, 404)
    const inside = appOn(fakePort(), {}, { metrics: port, serves: 'operators' })
    assert.equal((await inside.app.request('/metrics')).status, 200)
  })

  test('knows of every request under way, of those that fail, too', async () => {
    const { port, requests, seen } = metricsPort()
    const failing = fakePort({ document: () => Promise.reject(new Error('away')) })
    const { app } = appOn(failing, {}, { metrics: port })
    for (const path of ['/metrics', '/status', '/nowhere']) await app.request(path)
    assert.equal(requests(), 0)
    assert.ok((seen[0] ?? 0) >= 1, 'the one that asks is one of them')
  })
})
