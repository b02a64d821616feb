import assert from 'node:assert/strict'
import test from 'node:test'
import { BOSS } from '../../scripts/bench/latency/boss.ts'
import { GRAPHILE } from '../../scripts/bench/latency/graphile.ts'
import { latencyOf, latencyText, percentile } from '../../scripts/bench/latency/latency.ts'
import { INTAKE, SEND, SOURCE } from '../../scripts/bench/latency/tidemark.ts'

/** Turns that took these milliseconds, with an answer after 1. */
function times(toHandlerMs: number[]) {
  return { toHandlerMs, toAnswerMs: toHandlerMs.map(() => 1) }
}

test('a percentile is the least value that its share of all does not exceed', () => {
  const hundred = Array.from({ length: 100 }, (_, i) => 100 - i)
  assert.equal(percentile(hundred, 0.5), 50)
  assert.equal(percentile(hundred, 0.99), 99)
  assert.equal(percentile([7], 0.99), 7)
})

test('each way in is held against graphile-worker, and send against pg-boss, at the median and at p99', () => {
  const result = latencyOf(
    new Map([
      [SOURCE, times([3, 3, 9])],
      [INTAKE, times([3, 3, 10])],
      [SEND, times([4, 4, 4])],
      [BOSS, times([5, 5, 6])],
      [GRAPHILE, times([3, 3, 9])],
    ]),
    3,
  )
  assert.deepEqual(
    result.floors.map(({ of, against, at, reached }) => [of, against, at, reached]),
    [
      [SOURCE, GRAPHILE, 'p50', true],
      [SOURCE, GRAPHILE, 'p99', true],
      [INTAKE, GRAPHILE, 'p50', true],
      [INTAKE, GRAPHILE, 'p99', false],
      [SEND, GRAPHILE, 'p50', false],
      [SEND, GRAPHILE, 'p99', true],
      [SEND, BOSS, 'p50', true],
      [SEND, BOSS, 'p99', true],
    ],
  )
  assert.equal(result.figures[0]?.afterAnswerP50, 2)
  assert.match(
    latencyText(result),
    /MISSED: Tidemark, POST to the intake, p99 10\.0 ms \(at most 9\.0, of graph/,
  )
})

test('a way that was not measured reaches no floor', () => {
  const { floors } = latencyOf(new Map([[SOURCE, times([1])]]), 1)
  assert.ok(floors.every(({ reached }) => !reached))
})
