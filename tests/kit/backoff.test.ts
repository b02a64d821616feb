import assert from 'node:assert/strict'
import { test } from 'node:test'
import { backoffMs } from '../../src/kit/backoff.ts'

const LIMITS = { baseMs: 1_000, maxMs: 300_000 }

test('the wait doubles from the base to the maximum', () => {
  const longest = [1, 2, 3, 9, 10, 1_000].map((attempt) => backoffMs(attempt, LIMITS, () => 1))
  assert.deepEqual(longest, [1_000, 2_000, 4_000, 256_000, 300_000, 300_000])
})

test('jitter takes off up to half of the wait, never more', () => {
  assert.equal(
    backoffMs(3, LIMITS, () => 0),
    2_000,
  )
  assert.equal(
    backoffMs(3, LIMITS, () => 0.5),
    3_000,
  )
})

test('an attempt below one counts as the first', () => {
  assert.equal(
    backoffMs(0, LIMITS, () => 1),
    1_000,
  )
})
