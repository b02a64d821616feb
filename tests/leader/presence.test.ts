import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { describe, test } from 'node:test'
import { startPresence, Watcher } from '../../src/leader/presence.ts'
import { beat } from '../../src/tables/instance.ts'
import type { OtherInstance } from '../../src/tables/instance.ts'
import { createDatabase } from '../support/database.ts'
import { until } from '../support/until.ts'

const LEASE = 10_000

/** One other instance, looked at every two seconds of an injected clock. */
class World {
  readonly watcher = new Watcher(LEASE)
  now = 100_000
  other: OtherInstance = {
    instance_id: 'other',
    sentinel: true,
    sentinel_held: true,
    last_seen_at: 'beat 0',
    boot: 'first',
  }
  #beats = 0

  beat(): this {
    this.other = { ...this.other, last_seen_at: `beat ${(this.#beats += 1)}` }
    return this
  }

  is(change: Partial<OtherInstance>): this {
    this.other = { ...this.other, ...change }
    return this
  }

  look(): 'dead' | 'frozen' | 'alive' {
    return this.watcher.judge([this.other], this.now).get(this.other.instance_id) ?? 'alive'
  }

  /** Looks every two seconds; returns after how many milliseconds it was judged, and how. */
  until(limitMs: number, before: () => void = () => undefined): [string, number] {
    const from = this.now
    for (;;) {
      before()
      const verdict = this.look()
      if (verdict !== 'alive' || this.now - from >= limitMs) return [verdict, this.now - from]
      this.now += 2_000
    }
  }
}

describe('another instance', () => {
  test('that beats is alive, with its sentinel held or for the moment free', () => {
    const world = new World()
    assert.deepEqual(
      world.until(60_000, () => world.beat()),
      ['alive', 60_000],
    )
    world.is({ sentinel_held: false })
    assert.deepEqual(
      world.until(60_000, () => world.beat()),
      ['alive', 60_000],
    )
  })

  test('is dead when its sentinel is free and its heartbeat has stood still for five seconds', () => {
    const world = new World()
    world.look()
    world.is({ sentinel_held: false })
    assert.deepEqual(world.until(60_000), ['dead', 6_000])
  })

  test('whose sentinel was free at a single look only is not dead, however still it stands', () => {
    const world = new World()
    world.look()
    world.now += 8_000
    world.is({ sentinel_held: false })
    assert.equal(world.look(), 'alive')
    world.now += 1_000
    assert.equal(world.is({ sentinel_held: true }).look(), 'alive')
    world.now += 500
    assert.equal(world.is({ sentinel_held: false }).look(), 'alive')
    assert.equal(world.look(), 'dead')
  })

  test('is frozen, not dead, when it stands still for a lease with its sentinel held', () => {
    const world = new World()
    world.look()
    assert.deepEqual(world.until(60_000), ['frozen', LEASE])
    assert.equal(world.beat().look(), 'alive', 'it woke up')
  })

  test('without a sentinel is dead only when it has stood still for a lease', () => {
    const world = new World().is({ sentinel: false, sentinel_held: false })
    world.look()
    assert.deepEqual(world.until(60_000), ['dead', LEASE])
  })

  test('is judged by time that this process has measured: the first look says nothing, however old its beat', () => {
    const world = new World().is({ last_seen_at: 'last year', sentinel_held: false })
    assert.equal(world.look(), 'alive')
  })

  test('is not silent for as long as the answer of our own look lay unread', () => {
    const world = new World()
    world.look()
    const verdict = (askedAt: number) => world.watcher.judge([world.other], askedAt, world.now).get('other')
    world.now += 2 * LEASE
    assert.equal(verdict(world.now - LEASE - 1), undefined, 'we stood still with the answer in our hands')
    assert.equal(verdict(world.now), 'frozen')
  })

  test('that went away and came back begins anew', () => {
    const world = new World()
    world.look()
    world.now += 60_000
    world.watcher.judge([], world.now)
    assert.equal(world.look(), 'alive')
  })
})

describe('nothing is believed for a lease', () => {
  test('after our own connection was away', () => {
    const world = new World().is({ sentinel_held: false })
    assert.deepEqual(world.until(60_000), ['dead', 6_000])
    world.watcher.distrust(world.now)
    assert.deepEqual(world.until(60_000), ['dead', LEASE])
  })

  test('after the server restarted, which frees every sentinel while every process lives', () => {
    const world = new World()
    world.until(20_000, () => world.beat())
    world.is({ boot: 'second', sentinel_held: false })
    const silent = world.until(LEASE - 2_000)
    assert.deepEqual(silent, ['alive', LEASE - 2_000])
    assert.equal(world.beat().is({ sentinel_held: true }).look(), 'alive')
    assert.deepEqual(
      world.until(60_000, () => world.beat()),
      ['alive', 60_000],
    )
  })
})

test('the heart goes on beating while taking back what a dead instance had takes long', async (t) => {
  const pool = (await createDatabase(t)).pool()
  const facts = {
    machineId: null,
    region: null,
    release: '1',
    processGroup: null,
    sentinel: false,
    tasks: [],
  }
  const record = (instanceId: string) => ({
    ...facts,
    instanceId,
    holder: randomUUID(),
    state: 'ready' as const,
  })
  await beat(pool, record('dead'))
  const me = record('me')
  const reclaim = Promise.withResolvers<true>()
  const gone: string[] = []
  const presence = startPresence({
    db: pool,
    record: () => me,
    heartbeatMs: 50,
    leaseMs: 200,
    onGone: (instanceId) => {
      gone.push(instanceId)
      return reclaim.promise
    },
    onError: () => undefined,
  })
  t.after(() => {
    reclaim.resolve(true)
    return presence.stop()
  })
  await until('the taking back to begin', () => gone.length > 0)
  const seen = async () =>
    (
      await pool.query<{ at: string }>(
        `SELECT last_seen_at::text AS at FROM service_ops.runner_instance WHERE instance_id = 'me'`,
      )
    ).rows[0]?.at
  for (let beats = 0; beats < 3; beats += 1) {
    const before = await seen()
    await until('the next beat', async () => (await seen()) !== before, 5_000)
  }
  assert.deepEqual(gone, ['dead'], 'and it is taken back once at a time')
})

test('an instance whose record somebody has locked is not silent: it could not write', async (t) => {
  const database = await createDatabase(t)
  const pool = database.pool()
  await beat(pool, {
    ...{ instanceId: 'locked out', holder: randomUUID(), machineId: null, region: null, release: '1' },
    ...{ processGroup: null, sentinel: false, tasks: [], state: 'ready' },
  })
  const person = await database.client()
  await person.query('BEGIN; SELECT * FROM service_ops.runner_instance FOR UPDATE')
  const gone: string[] = []
  let asked = 0
  const presence = startPresence({
    db: {
      async query(text: string, values: readonly unknown[] = []) {
        if (text.includes('SKIP LOCKED')) asked += 1
        // Its own row comes after the lock, and is of no concern here: it fails, and the look is made alone.
        return (text.includes('INSERT') ? { rows: [] } : await pool.query(text, [...values])) as never
      },
    },
    record: () => ({ instanceId: 'me' }) as never,
    heartbeatMs: 50,
    leaseMs: 200,
    onGone: async (instanceId) => gone.push(instanceId) > 0,
    onError: () => undefined,
  })
  t.after(() => presence.stop())
  await until('it to have seemed frozen, again and again', () => asked >= 3)
  assert.deepEqual(gone, [])
  await person.query('ROLLBACK')
  await until('it to be gone', () => gone.length > 0)
})

test('an instance that cannot be taken back is tried again, said, and does not keep the others from being taken back', async (t) => {
  let clock = 0
  const tried: string[] = []
  const failures: number[] = []
  const row = (id: string) => ({
    instance_id: id,
    sentinel: true,
    sentinel_held: false,
    last_seen_at: 'x',
    boot: 'b',
  })
  const presence = startPresence({
    db: {
      // Two that stand still for ever; each look finds the clock a second later.
      async query(text: string) {
        if (text.includes('pg_locks')) clock += 1_000
        const others = [row('stuck'), row('free')]
        return { rows: [{ others, paused: [], sentinel_held: true }], rowCount: 1 } as never
      },
    },
    record: () => ({ instanceId: 'me' }) as never,
    heartbeatMs: 1,
    leaseMs: LEASE,
    async onGone(instanceId) {
      tried.push(instanceId)
      if (instanceId === 'stuck') throw new Error('its rows are locked')
      return true
    },
    onError: (what, _error, inARow) => {
      assert.equal(what, 'take back')
      failures.push(inARow)
    },
    now: () => clock,
  })
  t.after(() => presence.stop())
  await until('both to be tried, and one again', () => tried.length >= 4)
  assert.deepEqual(tried.slice(0, 4), ['stuck', 'free', 'stuck', 'free'])
  assert.deepEqual(failures.slice(0, 2), [1, 2])
})

test('heartbeats of one process follow one another: two first ones at once would break on the unique holder', async (t) => {
  const record = {
    instanceId: 'me',
    holder: '00000000-0000-0000-0000-000000000001',
    machineId: null,
    region: null,
    release: '1',
    processGroup: null,
    state: 'starting',
    sentinel: false,
    tasks: [],
  } as const
  const underWay: PromiseWithResolvers<undefined>[] = []
  let beats = 0
  const presence = startPresence({
    db: {
      // A query that answers when the test says so.
      async query() {
        beats += 1
        const one = Promise.withResolvers<undefined>()
        underWay.push(one)
        await one.promise
        return { rows: [{ others: [], paused: [], sentinel_held: true }] } as never
      },
    },
    record: () => record,
    heartbeatMs: 1_000_000,
    leaseMs: LEASE,
    onGone: async () => true,
    onError: () => undefined,
  })
  t.after(async () => {
    for (const one of underWay) one.resolve(undefined)
    await presence.stop()
  })
  const announced = presence.announce()
  await until('the first beat', () => beats > 0)
  await new Promise((resolve) => setImmediate(resolve))
  assert.equal(beats, 1, 'the second waits')
  underWay[0]?.resolve(undefined)
  await until('the second beat', () => beats === 2)
  underWay[1]?.resolve(undefined)
  await announced
})
