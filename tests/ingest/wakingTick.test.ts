import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import type { Sleeper } from '../../src/ingest/sleeper.ts'
import type { DuePass, Tick } from '../../src/ingest/tick.ts'
import { createWakingTick } from '../../src/ingest/wakingTick.ts'
import { pause } from '../../src/kit/pause.ts'

interface Falling {
  readonly canSleep?: boolean
  /** Where each fall leaves what ends it, instead of ending at once. */
  readonly falls?: ((asleep: boolean) => void)[]
}

/** A clock that never comes after the first pass, and a flag without a database. */
function world(t: TestContext, { canSleep = true, falls }: Falling = {}) {
  const flag = { asleep: false, closed: false, taken: 0 }
  const sleeper: Sleeper = {
    fallAsleep: () => {
      if (falls !== undefined) return new Promise((end) => falls.push(end))
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
  /** What is next, a tail or the cause of a pass; it finds so many rows. */
  const looks = async (inserted: number): Promise<string> => {
    const due = await next()
    await due.done({ ok: true, inserted })
    return due.isTail === true ? 'tail' : due.cause
  }
  /** Falls asleep with the first pass of a lead, and has not been told of anything for a while. */
  const asleep = async (): Promise<void> => {
    await looks(0)
    await looks(0)
    assert.equal(flag.asleep, true)
    await pause(CALM_MS)
  }
  return { flag, results, lead, tick, next, looks, asleep }
}

/** The poller's own, and a margin for timers. */
const CALM_MS = 120

test('after the first pass it falls asleep, and makes one more when it does', async (t) => {
  const { flag, results, lead, tick, looks } = world(t)
  assert.equal(await looks(3), 'job')
  assert.deepEqual(results, [true])
  assert.equal(await looks(0), 'wake')
  assert.equal(flag.asleep, true)
  const waiting = tick.next(lead.signal)
  lead.abort()
  assert.equal(await waiting, undefined)
  assert.equal(flag.closed, true)
})

test('told of an insert after a calm it reads the tail, makes a pass a moment later, and sleeps on', async (t) => {
  const { flag, tick, lead, looks, asleep } = world(t)
  await asleep()
  const { taken } = flag
  tick.wake()
  const at = performance.now()
  assert.equal(await looks(1), 'tail')
  assert.equal(await looks(0), 'wake')
  assert.ok(performance.now() - at > 20, 'the handler of what was found is not disturbed by the pass')
  assert.equal(await Promise.race([tick.next(lead.signal), pause(200)]), undefined)
  assert.deepEqual(flag, { asleep: true, closed: false, taken })
})

test('a tail that finds nothing has its pass at once', async (t) => {
  const { tick, next, looks, asleep } = world(t)
  await asleep()
  tick.wake()
  const tail = await next()
  assert.equal(tail.isTail, true)
  await tail.done({ ok: true, inserted: 0 })
  const at = performance.now()
  assert.equal(await looks(1), 'wake')
  assert.ok(performance.now() - at < 20, 'the row lies behind the cursor, and waits')
})

test('a flood makes it take the flag back and stay awake until a pass finds nothing', async (t) => {
  const { flag, tick, looks, asleep } = world(t)
  await asleep()
  const { taken } = flag
  tick.wake()
  assert.equal(await looks(5), 'tail')
  tick.wake()
  assert.equal(flag.asleep, false)
  assert.equal(await looks(5), 'tail')
  for (const rows of [7, 1]) {
    assert.equal(await looks(rows), 'wake')
    assert.equal(flag.asleep, false)
  }
  assert.equal(await looks(0), 'wake')
  assert.equal(await looks(0), 'wake')
  assert.equal(flag.asleep, true)
  assert.equal(flag.taken, taken + 1)
})

test('an insert that is announced while something is read gets a tail of its own', async (t) => {
  const { flag, tick, next, looks, asleep } = world(t)
  await asleep()
  tick.wake()
  const tail = await next()
  tick.wake()
  await tail.done({ ok: true, inserted: 1 })
  assert.equal(await looks(1), 'tail')
  const pass = await next()
  assert.equal(pass.isTail, undefined)
  tick.wake()
  await pass.done({ ok: true, inserted: 0 })
  assert.equal(flag.asleep, false)
  assert.equal(await looks(0), 'tail')
  assert.equal(await looks(0), 'wake')
})

test('a pass that fails is made again', async (t) => {
  const { tick, next, looks, asleep } = world(t)
  await asleep()
  tick.wake()
  assert.equal(await looks(0), 'tail')
  await (await next()).done({ ok: false })
  assert.equal(await looks(1), 'wake')
})

test('a pass that took long rests for nine times as long, and tails are read meanwhile', async (t) => {
  const { tick, next, looks, asleep } = world(t)
  await asleep()
  tick.wake()
  await looks(0)
  const long = await next()
  await pause(100)
  await long.done({ ok: true, inserted: 1 })
  const at = performance.now()
  tick.wake()
  assert.equal(await looks(1), 'tail')
  assert.ok(performance.now() - at < 9 * 40, 'a tail does not rest')
  assert.equal(await looks(1), 'wake')
  assert.ok(performance.now() - at > 9 * 40, `${performance.now() - at} ms`)
})

test('a pass that took long for rows that were new does not rest', async (t) => {
  const { tick, next, looks, asleep } = world(t)
  await asleep()
  tick.wake()
  await looks(0)
  const long = await next()
  await pause(200)
  await long.done({ ok: true, inserted: 5_000 })
  const at = performance.now()
  tick.wake()
  assert.equal(await looks(1), 'tail')
  assert.equal(await looks(1), 'wake')
  assert.ok(performance.now() - at < 9 * 100, `${performance.now() - at} ms`)
})

test('after a tail that is full a pass comes at once, and while passes rest another tail', async (t) => {
  const { tick, next, asleep } = world(t)
  const full = { ok: true, inserted: 500, full: true }
  const atOnce = () => Promise.race([next(), setImmediate(undefined)])
  await asleep()
  tick.wake()
  const first = await next()
  assert.equal(first.isTail, true)
  await first.done(full)
  const pass = await atOnce()
  assert.equal(pass?.isTail, undefined)
  assert.ok(pass !== undefined, 'no timer is waited for')
  tick.wake()
  await pass.tail?.()?.done(full)
  const between = pass.tail?.()
  assert.equal(between?.isTail, true, 'before the next page, without another announcement')
  await between.done({ ok: true, inserted: 1 })
  await pass.done({ ok: true, inserted: 1, rereadMs: 600 })
  await pause(CALM_MS)
  tick.wake()
  for (let n = 0; n < 3; n += 1) {
    const tail = await atOnce()
    assert.equal(tail?.isTail, true)
    await tail.done(full)
  }
})

test('while passes rest, a poller that is awake goes on to read tails', async (t) => {
  const { flag, tick, next, looks, asleep } = world(t)
  await asleep()
  tick.wake()
  tick.wake()
  assert.equal(flag.asleep, false)
  await looks(1)
  const long = await next()
  await pause(100)
  await long.done({ ok: true, inserted: 1 })
  for (const found of [1, 0, 1]) assert.equal(await looks(found), 'tail')
})

test('an insert that is announced while a pass is made has its tail before the next page, and another pass', async (t) => {
  const { tick, next, looks, asleep } = world(t)
  await asleep()
  tick.wake()
  await looks(0)
  const pass = await next()
  assert.equal(pass.tail?.(), undefined)
  tick.wake()
  const tail = pass.tail?.()
  assert.equal(tail?.isTail, true)
  assert.equal(pass.tail?.(), undefined)
  await tail.done({ ok: true, inserted: 1 })
  await pass.done({ ok: true, inserted: 0 })
  assert.equal(await looks(0), 'wake')
})

test('a pass by the clock lets tails in between its pages, too', async (t) => {
  const { tick, next } = world(t)
  const pass = await next()
  assert.equal(pass.cause, 'job')
  tick.wake()
  assert.equal(pass.tail?.()?.isTail, true)
})

test('while passes rest it falls asleep after a tail that found nothing, and looks once more', async (t) => {
  const { flag, tick, next, looks, asleep } = world(t)
  await asleep()
  tick.wake()
  await looks(0)
  await (await next()).done({ ok: true, inserted: 1, rereadMs: 60 })
  const at = performance.now()
  tick.wake()
  tick.wake()
  assert.equal(flag.asleep, false)
  assert.equal(await looks(1), 'tail')
  assert.equal(await looks(0), 'tail')
  assert.equal(flag.asleep, true)
  assert.equal(await looks(0), 'tail')
  assert.ok(performance.now() - at < 9 * 60, 'all of it in the rest')
  assert.equal(await looks(0), 'wake')
  assert.ok(performance.now() - at > 9 * 60, `${performance.now() - at} ms`)
})

test('in a long pass it falls asleep as well, and the pass that follows has begun after the flag', async (t) => {
  const { flag, tick, next, looks, asleep } = world(t)
  await asleep()
  tick.wake()
  await looks(0)
  const long = await next()
  tick.wake()
  assert.equal(flag.asleep, false)
  await long.tail?.()?.done({ ok: true, inserted: 1 })
  await pause(CALM_MS)
  await long.tail?.()?.done({ ok: true, inserted: 0 })
  assert.equal(flag.asleep, true)
  await long.done({ ok: true, inserted: 0, rereadMs: 30 })
  assert.equal(await looks(0), 'tail')
  assert.equal(await looks(0), 'wake')
  assert.equal(flag.asleep, true)
})

test('a fall that was broken off and ends late is not taken for the one that was begun meanwhile', async (t) => {
  const falls: ((asleep: boolean) => void)[] = []
  const { tick, lead, looks } = world(t, { falls })
  await looks(0)
  falls[0]?.(true)
  assert.equal(await looks(0), 'wake')
  for (let turn = 1; turn <= 2; turn += 1) {
    tick.wake()
    assert.equal(await looks(0), 'tail')
    assert.equal(await looks(0), 'wake')
  }
  assert.equal(falls.length, 3)
  falls[1]?.(false)
  falls[2]?.(true)
  const last = await Promise.race([tick.next(lead.signal), pause(1_000)])
  assert.equal(last?.cause, 'wake', 'the pass after the flag')
})

test('a poller that rests has no flag, and nothing but the clock makes it look', async (t) => {
  const { flag, tick, lead, asleep } = world(t)
  await asleep()
  tick.rest()
  assert.equal(flag.asleep, false)
  const early = await Promise.race([tick.next(lead.signal), pause(200)])
  assert.equal(early, undefined)
})

test('where it cannot sleep, only the clock makes it look', async (t) => {
  const { tick, lead, looks } = world(t, { canSleep: false })
  await looks(1)
  tick.wake()
  assert.equal(await looks(1), 'tail')
  assert.equal(await looks(1), 'wake')
  const early = await Promise.race([tick.next(lead.signal), pause(200)])
  assert.equal(early, undefined)
})

test('what is held, since the poller is paused, leaves it without a flag', async (t) => {
  const { flag, tick, lead, next, asleep } = world(t)
  await asleep()
  tick.wake()
  await (await next()).done({ ok: true, held: true })
  tick.wake()
  const early = await Promise.race([tick.next(lead.signal), pause(200)])
  assert.equal(early, undefined)
  assert.equal(flag.asleep, false)
})
