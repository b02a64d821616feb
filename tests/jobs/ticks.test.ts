import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createLoopTick } from '../../src/jobs/ticks.ts'

test('a new leader is due at once, later passes keep the rhythm', async (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: 1_000_000 }) // `now` below is the clock that moves
  let now = 0
  const tick = createLoopTick({ everyMs: 100, now: () => now })
  const lead = new AbortController()
  const due: number[] = []
  for (let i = 0; i < 3; i++) {
    const pass = await tick.next(lead.signal)
    assert.equal(pass?.cause, 'loop')
    // It comes 7 ms late each time; the time that it was due does not move with it.
    due.push(pass.dueAt.getTime() - Date.now() + now)
    await pass.done({ ok: true })
    now = 100 * (i + 1) + 7
  }
  assert.deepEqual(due, [0, 100, 200])
})

test('a pass that took longer than the interval starts the rhythm anew', async () => {
  let now = 1_000
  const tick = createLoopTick({ everyMs: 50, now: () => now })
  const lead = new AbortController()
  const pass = await tick.next(lead.signal)
  now += 500
  await pass?.done({ ok: true })
  now += 50
  const late = Date.now() - ((await tick.next(lead.signal))?.dueAt.getTime() ?? Number.NaN)
  assert.ok(late < 400, `due now, not ${late} ms ago`)
})

test('a demand is heard while waiting and while a pass runs, and without leadership does nothing', async () => {
  const tick = createLoopTick({ everyMs: 60_000 })
  tick.demand()
  const lead = new AbortController()
  const first = await tick.next(lead.signal)
  assert.equal(first?.cause, 'loop')
  tick.demand()
  await first.done({ ok: true })
  const second = await tick.next(lead.signal)
  assert.equal(second?.cause, 'demand')
  await second.done({ ok: true })
  const waiting = tick.next(lead.signal)
  tick.demand()
  assert.equal((await waiting)?.cause, 'demand')
})

test('the end of a leadership ends the wait, and the next one begins at once', async () => {
  const tick = createLoopTick({ everyMs: 60_000 })
  const lead = new AbortController()
  await (await tick.next(lead.signal))?.done({ ok: true })
  const waiting = tick.next(lead.signal)
  lead.abort()
  assert.equal(await waiting, undefined)
  assert.equal(await tick.next(lead.signal), undefined)
  assert.equal((await tick.next(new AbortController().signal))?.cause, 'loop')
})
