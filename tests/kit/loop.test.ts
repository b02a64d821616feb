import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startLoop } from '../../src/kit/loop.ts'
import { pause } from '../../src/kit/pause.ts'

/** Longer than any test here: a wait that ends before it was woken or stopped. */
const FOR_EVER_MS = 3_600_000

function looks() {
  let count = 0
  const waiting = new Map<number, () => void>()
  return {
    seen() {
      count += 1
      waiting.get(count)?.()
      return count
    },
    reached: (wanted: number) =>
      count >= wanted ? Promise.resolve() : new Promise<void>((resolve) => waiting.set(wanted, resolve)),
    get count() {
      return count
    },
  }
}

test('a loop sleeps for as long as its body says, unless it is woken', async () => {
  const look = looks()
  const loop = startLoop({
    body: async () => {
      look.seen()
      return FOR_EVER_MS
    },
    onError: () => FOR_EVER_MS,
  })
  await look.reached(1)
  loop.wake()
  await look.reached(2)
  await loop.stop()
  assert.equal(look.count, 2)
})

test('a wake-up during a look is not lost: another look follows', async () => {
  const look = looks()
  const inside = Promise.withResolvers<undefined>()
  const loop = startLoop({
    body: async () => {
      if (look.seen() === 1) await inside.promise
      return FOR_EVER_MS
    },
    onError: () => FOR_EVER_MS,
  })
  await look.reached(1)
  loop.wake()
  inside.resolve(undefined)
  await look.reached(2)
  await loop.stop()
})

test('an error ends no loop, and is counted until a look succeeds', async () => {
  const look = looks()
  const failures: number[] = []
  const loop = startLoop({
    body: async () => {
      const n = look.seen()
      if (n === 1 || n === 2 || n === 4) throw new Error(`look ${n}`)
      return n < 5 ? 0 : FOR_EVER_MS
    },
    onError: (_error, inARow) => {
      failures.push(inARow)
      return 0
    },
  })
  await look.reached(5)
  await loop.stop()
  assert.deepEqual(failures, [1, 2, 1])
})

test('a loop that is to look in a while looks then, and the nearest such time counts', async () => {
  const look = looks()
  const loop = startLoop({
    body: async () => {
      look.seen()
      return FOR_EVER_MS
    },
    onError: () => FOR_EVER_MS,
  })
  await look.reached(1)
  loop.wakeIn(FOR_EVER_MS)
  loop.wakeIn(1)
  loop.wakeIn(FOR_EVER_MS)
  await look.reached(2)
  await loop.stop()
})

test('stop aborts the look under way and waits for its end; a second stop waits for the same', async () => {
  let ended = false
  const look = looks()
  const loop = startLoop({
    body: async (signal) => {
      look.seen()
      await pause(FOR_EVER_MS, signal)
      ended = true
      return 0
    },
    onError: () => 0,
  })
  await look.reached(1)
  await Promise.all([loop.stop(), loop.stop()])
  assert.equal(ended, true)
  assert.equal(look.count, 1)
})
