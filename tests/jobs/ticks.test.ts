import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createLoopTick } from '../../src/jobs/ticks.ts'

test('a new leader is due at once, later passes keep the rhythm', async () => {
  const tick = createLoopTick({ everyMs: 100 })
  const lead = new AbortController()
  const due: number[] = []
  for (let i = 0; i < 3; i++) {
    const pass = await tick.next(lead.signal)
    assert.equal(pass?.cause, 'loop')
    due.push(pass.dueAt.getTime())
    await pass.done({ ok: true })
  }
  assert.deepEqual(
    due.map((time) => time - (due[0] ?? NaN)),
    [0, 100, 200],
  )
})

test('a pass that took longer than the interval starts the rhythm anew', async () => {
  let now = 1_000
  const tick = createLoopTick({ everyMs: 50, now: () => now })
  const lead = new AbortController()
  const pass = await tick.next(lead.signal)
  now += 500
  await pass?.done({ ok: true })
  now += 50
  assert.equal((await tick.next(lead.signal))?.dueAt.getTime(), 1_550)
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
