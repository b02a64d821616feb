import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { startLimit } from '../../src/kit/limit.ts'

/** A limit under a clock and timers that only the test moves. */
function limited(t: TestContext, limitMs: number) {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  let clock = 0
  let over = false
  const onOver = (): void => {
    over = true
  }
  const end = startLimit(limitMs, onOver, () => clock)
  return {
    end,
    isOver: () => over,
    /** Timers are on time. */
    run(ms: number) {
      for (let i = 0; i < ms; i += 10) {
        clock += 10
        t.mock.timers.tick(10)
      }
    },
    /** Nothing runs for so long; then whatever is due does, and nothing else yet. */
    pause(ms: number) {
      clock += ms
      t.mock.timers.tick(Math.min(ms, 1_000))
    },
  }
}

test('a limit is over after its time, to the millisecond', (t) => {
  const limit = limited(t, 2_510)
  limit.run(2_500)
  assert.equal(limit.isOver(), false)
  limit.run(10)
  assert.equal(limit.isOver(), true)
})

test('a limit that is ended says nothing', (t) => {
  const limit = limited(t, 2_500)
  limit.run(1_500)
  limit.end()
  limit.run(10_000)
  assert.equal(limit.isOver(), false)
})

test('a pause of the process uses nothing up, however long it is: the second that it fell into is given again', (t) => {
  const limit = limited(t, 2_500)
  limit.run(1_500)
  limit.pause(3_600_000)
  limit.run(1_490)
  assert.equal(limit.isOver(), false)
  limit.run(10)
  assert.equal(limit.isOver(), true)
})

test('a delay that is no pause is counted', (t) => {
  const limit = limited(t, 2_500)
  limit.pause(2_000)
  limit.run(500)
  assert.equal(limit.isOver(), true)
})

test('what blocks the event loop again and again is given its limit once more, not for ever', (t) => {
  const limit = limited(t, 5_000)
  let bursts = 0
  while (!limit.isOver() && bursts < 100) {
    limit.pause(2_500)
    bursts += 1
  }
  assert.equal(bursts, 5 + 2)
})
