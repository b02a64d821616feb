import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createProbe } from '../../src/http/probe.ts'
import type { Health } from '../../src/http/health.ts'
import type { Check } from '../../src/http/statusPort.ts'
import { appOn, fakePort, type FakePort } from './fixture.ts'

async function healthOf(port: FakePort): Promise<{ code: number; health: Health }> {
  const response = await appOn(port).app.request('/health')
  return { code: response.status, health: (await response.json()) as Health }
}

function withParts(change: Partial<Record<'queue' | 'leaders' | 'pollers' | 'processors', Check>>): FakePort {
  const port = fakePort()
  port.parts = { ...port.parts, ...change }
  return port
}

describe('/health', () => {
  test('is 200 healthy when every part is well', async () => {
    const { code, health } = await healthOf(fakePort())
    const { timestamp, checks, ...rest } = health
    assert.equal(code, 200)
    assert.deepEqual(rest, {
      service: 'orders',
      version: '1.2.3',
      features: ['pollers'],
      status: 'healthy',
      ready: 'ready',
      database: 'connected',
    })
    assert.deepEqual(Object.keys(checks), ['database', 'queue', 'leaders', 'pollers', 'processors'])
    assert.ok(Math.abs(Date.parse(timestamp) - Date.now()) < 60_000)
  })

  test('is 200 degraded for what another instance or a person mends, and while it starts or drains', async () => {
    const { code, health } = await healthOf(
      withParts({ leaders: { status: 'degraded', without: ['orders'] } }),
    )
    assert.deepEqual([code, health.status, health.error], [200, 'degraded', undefined])
    assert.deepEqual(health.checks.leaders, { status: 'degraded', without: ['orders'] })
    for (const ready of ['starting', 'draining'] as const) {
      assert.equal((await healthOf(fakePort({ ready }))).health.status, 'degraded')
    }
  })

  test('is 503 unhealthy when this instance cannot work, and says so by a class name', async () => {
    const cases: [port: FakePort, error: string][] = [
      [withParts({ pollers: { status: 'failed' } }), 'PartStalled'],
      [fakePort({ ready: 'schema_incompatible' }), 'SchemaIncompatible'],
      [
        fakePort({ probe: () => Promise.reject(new RangeError('password=secret at /srv/x/y')) }),
        'RangeError',
      ],
    ]
    for (const [port, error] of cases) {
      const { code, health } = await healthOf(port)
      assert.deepEqual([code, health.status, health.error], [503, 'unhealthy', error])
      assert.doesNotMatch(JSON.stringify(health), /secret|srv/)
    }
  })

  test('answers within 2 s when the database hangs, and says that it is away', async (t) => {
    const startedAt = performance.now()
    const { code, health } = await healthOf(fakePort({ probe: () => new Promise(() => {}) }))
    const tookMs = performance.now() - startedAt
    assert.deepEqual([code, health.database, health.error], [503, 'disconnected', 'ProbeTimeout'])
    t.diagnostic(`it answered after ${Math.round(tookMs)} ms`)
    assert.ok(tookMs < 20_000, `took ${tookMs} ms`)
  })

  test('asked 50 times at once asks the database once', async () => {
    const port = fakePort()
    const { app } = appOn(port)
    const codes = await Promise.all(
      Array.from({ length: 50 }, async () => (await app.request('/health')).status),
    )
    assert.deepEqual(new Set(codes), new Set([200]))
    assert.equal(port.probes, 1)
  })

  test('logs the change to unhealthy and back, once each', async () => {
    const port = withParts({})
    const { app, lines } = appOn(port)
    const ask = () => app.request('/health')
    await ask()
    port.parts = { ...port.parts, processors: { status: 'failed' } }
    await ask()
    await ask()
    port.parts = { ...port.parts, processors: { status: 'ok' } }
    await ask()
    assert.deepEqual(
      lines.json
        .filter(({ event }) => String(event).startsWith('health_'))
        .map(({ event, checks }) => [event, checks]),
      [
        ['health_failed', ['processors']],
        ['health_recovered', undefined],
      ],
    )
  })
})

describe('the database probe', () => {
  test('keeps a result for a second, whatever it was', async () => {
    let now = 0
    let asked = 0
    const probe = createProbe(
      () => {
        asked += 1
        return asked === 1 ? Promise.reject(new TypeError('x')) : Promise.resolve()
      },
      () => now,
    )
    assert.deepEqual(await probe.look(), { ok: false, class: 'TypeError' })
    now = 999
    assert.deepEqual(await probe.look(), { ok: false, class: 'TypeError' })
    assert.equal(asked, 1)
    now = 1000
    assert.deepEqual(await probe.look(), { ok: true, latencyMs: 0 })
    assert.equal(asked, 2)
  })

  /** A probe that counts its questions, on a clock that the test moves; `answer`: somebody is answered at once. */
  function heardProbe() {
    const world = { now: 0, asked: 0, hangs: false, answer: () => probe.asked()(true) }
    const probe = createProbe(
      () => {
        world.asked += 1
        return world.hangs ? new Promise(() => {}) : Promise.resolve()
      },
      () => world.now,
    )
    return { world, probe }
  }

  test('does not ask while others are answered, and asks when nobody was for 1.1 s', async () => {
    const { world, probe } = heardProbe()
    await probe.look()
    for (world.now = 900; world.now < 10_000; world.now += 900) {
      world.answer()
      world.now += 150
      assert.deepEqual(await probe.look(), { ok: true, latencyMs: 0 })
      assert.equal(probe.staleInMs, 950)
    }
    assert.equal(world.asked, 1)
    world.answer()
    world.now += 1_100
    assert.equal(probe.staleInMs, 0)
    await probe.look()
    assert.equal(world.asked, 2)
  })

  test('an answer counts from when it was asked for, and a failure for nothing', async () => {
    const { world, probe } = heardProbe()
    await probe.look()
    const over = probe.asked()
    world.now = 700
    over(true)
    world.now = 1_099
    assert.equal(probe.staleInMs, 1)
    probe.asked()(false)
    world.now = 1_100
    assert.equal(probe.staleInMs, 0)
  })

  test('asks while somebody waits for an answer, however many others have one', async () => {
    const { world, probe } = heardProbe()
    await probe.look()
    const over = probe.asked()
    world.now = 1_749
    probe.asked()(true)
    world.now = 750 + 1_000
    world.answer()
    await probe.look()
    assert.equal(world.asked, 2)
    over(false)
    world.now += 1_050
    world.answer()
    await probe.look()
    assert.equal(world.asked, 2)
  })

  test('tries its own way every 15 s, and believes nobody when that is not good', async () => {
    const { world, probe } = heardProbe()
    await probe.look()
    world.hangs = true
    for (world.now = 500; world.now < 15_000; world.now += 500) {
      world.answer()
      await probe.look()
    }
    assert.equal(world.asked, 1)
    world.now = 15_000
    world.answer()
    assert.equal(probe.staleInMs, 0)
    assert.deepEqual(await probe.look(), { ok: false, class: 'ProbeTimeout' })
    world.answer()
    assert.deepEqual(await probe.look(), { ok: false, class: 'ProbeTimeout' })
    assert.equal(world.asked, 2)
    world.hangs = false
    world.now += 10_000
    assert.deepEqual(await probe.look(), { ok: true, latencyMs: 0 })
    world.now += 1_050
    world.answer()
    await probe.look()
    assert.equal(world.asked, 3)
  })

  test('begins no second round trip while one hangs, until it is given up', async () => {
    let now = 0
    let asked = 0
    const probe = createProbe(
      () => {
        asked += 1
        return asked === 1 ? new Promise(() => {}) : Promise.resolve()
      },
      () => now,
    )
    const first = probe.look()
    now = 5000
    assert.deepEqual(
      await probe.look(),
      { ok: false, class: 'ProbeTimeout' },
      'the late one need not wait again',
    )
    assert.equal(asked, 1)
    now = 10_000
    assert.deepEqual(await probe.look(), { ok: true, latencyMs: 0 })
    assert.equal(asked, 2)
    assert.deepEqual(await first, { ok: false, class: 'ProbeTimeout' })
  })
})
