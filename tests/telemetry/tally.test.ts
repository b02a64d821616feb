import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Buckets, HANDLER_BOUNDS_S, LATENCY_BOUNDS_S, Tally } from '../../src/telemetry/tally.ts'

test('a value is counted in the one bucket whose bound it does not exceed', () => {
  const buckets = new Buckets([1, 2])
  for (const value of [0, 1, 1.5, 2, 2.1, 99]) buckets.add(value)
  assert.deepEqual([...buckets.counts], [2, 2, 2])
  assert.ok(Math.abs(buckets.sumS - 105.6) < 1e-9)
})

test('bounds rise', () => {
  for (const bounds of [LATENCY_BOUNDS_S, HANDLER_BOUNDS_S])
    assert.deepEqual(
      [...bounds],
      bounds.toSorted((a, b) => a - b),
    )
})

test('each source has its own counts; an end that is final is a failure, whatever brought it about', () => {
  const tally = new Tally()
  tally.of('orders').finish(20, 3)
  tally.of('orders').fail(5, false)
  tally.of('orders').fail(7, true)
  tally.of('mails').interrupt(false)
  tally.of('mails').interrupt(true)
  const { done, failed, dead, interrupted, latency, handler } = tally.of('orders')
  assert.deepEqual([done, failed, dead, interrupted], [1, 2, 1, 0])
  assert.deepEqual([latency.sumS, handler.sumS], [0.02, 0.015])
  const { interrupted: back, dead: lost, failed: counted } = tally.of('mails')
  assert.deepEqual([back, lost, counted], [2, 1, 1])
  assert.deepEqual([...tally.sources.keys()], ['orders', 'mails'])
})
