import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import type { Sleeper } from '../../src/ingest/sleeper.ts'
import type { DuePass, Tick } from '../../src/ingest/tick.ts'
import { createWakingTick } from '../../src/ingest/wakingTick.ts'
import { pause } from '../../src/kit/pause.ts'

/** A clock that never comes after the first pass, and a flag without a database. */
function world(t: TestContext, { canSleep = true } = {}) {
  const flag = { asleep: false, closed: false, taken: 0 }
  const sleeper: Sleeper = {
    fallAsleep: () => {
      flag.asleep = canSleep
      flag.taken += 1
      return Promise.resolve(canSleep)
    },
    wakeUp: () => (flag.asleep = false),
    isSound: () => Promise.resolve(true),
    close: () => {
      flag.closed = true
      return Promise.resolve()
    },
  }
  const results: (boolean | undefined)[] = []
  let first = true
  const inner: Tick = {
    async next(signal) {
      if (!first) {
        await pause(3_600_000, signal)
        return undefined
      }
      first = false
      const done: DuePass['done'] = ({ ok }) => {
        results.push(ok)
        return Promise.resolve()
      }
      return { dueAt: new Date(), cause: 'job', done }
    },
  }
  const lead = new AbortController()
  t.after(() => lead.abort())
  const tick = createWakingTick({ inner, createSleeper: () => sleeper })
  const next = async (): Promise<DuePass> => {
    const due = await tick.next(lead.signal)
    assert.ok(due !== undefined)
    return due
  }
  /** The cause of the next pass, which finds so many rows. */
  const passes = async (inserted: number): Promise<string> => {
    const due = await next()
    await due.done({ ok: true, inserted })
    return due.cause
  }
  return { flag, results, lead, tick, next, passes }
}

test('after the first pass it falls asleep, and looks once more when it does', async (t) => {
  const { flag, results, lead, tick, passes } = world(t)
  assert.equal(await passes(3), 'job')
  assert.deepEqual(results, [true])
  assert.equal(await passes(0), 'wake')
  assert.equal(flag.asleep, true)
  const waiting = tick.next(lead.signal)
  lead.abort()
  assert.equal(await waiting, undefined)
  assert.equal(flag.closed, true)
})

test('told of an insert it takes the flag back and looks; a flood keeps it awake until a look finds nothing', async (t) => {
  const { flag, tick, passes } = world(t)
  await passes(0)
  await passes(0)
  const taken = flag.taken
  tick.wake()
  assert.equal(flag.asleep, false)
  for (const rows of [5, 7, 1]) {
    assert.equal(await passes(rows), 'wake')
    assert.equal(flag.asleep, false)
  }
  assert.equal(await passes(0), 'wake')
  assert.equal(await passes(0), 'wake')
  assert.equal(flag.asleep, true)
  assert.equal(flag.taken, taken + 1)
})

test('an insert that is announced while a look is under way gets a look of its own', async (t) => {
  const { flag, tick, next, passes } = world(t)
  await passes(0)
  await passes(0)
  tick.wake()
  const look = await next()
  tick.wake()
  await look.done({ ok: true, inserted: 0 })
  const another = await next()
  assert.equal(flag.asleep, false)
  await another.done({ ok: true, inserted: 0 })
})

test('a look that fails is made again', async (t) => {
  const { tick, next, passes } = world(t)
  await passes(0)
  await passes(0)
  tick.wake()
  await (await next()).done({ ok: false })
  assert.equal(await passes(1), 'wake')
})

test('a look that took long rests for nine times as long', async (t) => {
  const { tick, next, passes } = world(t)
  await passes(0)
  await passes(0)
  tick.wake()
  const long = await next()
  await pause(100)
  await long.done({ ok: true, inserted: 1 })
  const at = performance.now()
  await passes(1)
  assert.ok(performance.now() - at > 9 * 40, `${performance.now() - at} ms`)
})

test('a poller that rests has no flag, and nothing but the clock makes it look', async (t) => {
  const { flag, tick, lead, passes } = world(t)
  await passes(0)
  await passes(0)
  tick.rest()
  assert.equal(flag.asleep, false)
  const waiting = tick.next(lead.signal)
  const early = await Promise.race([waiting, pause(200)])
  assert.equal(early, undefined)
})

test('where it cannot sleep, only the clock makes it look', async (t) => {
  const { tick, lead, passes } = world(t, { canSleep: false })
  await passes(1)
  tick.wake()
  assert.equal(await passes(1), 'wake')
  const early = await Promise.race([tick.next(lead.signal), pause(200)])
  assert.equal(early, undefined)
})

test('a look that is held, since the poller is paused, leaves it without a flag', async (t) => {
  const { flag, tick, lead, next, passes } = world(t)
  await passes(0)
  await passes(0)
  tick.wake()
  await (await next()).done({ ok: true, held: true })
  tick.wake()
  const early = await Promise.race([tick.next(lead.signal), pause(200)])
  assert.equal(early, undefined)
  assert.equal(flag.asleep, false)
})
