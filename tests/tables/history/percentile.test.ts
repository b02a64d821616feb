import assert from 'node:assert/strict'
import { test } from 'node:test'
import { percentileOf } from '../../../src/tables/history/percentile.ts'

const BOUNDS = [1, 2, 4]

test('within a bucket values are taken to lie evenly, from the bound below it on, empty buckets left out', () => {
  const buckets = [{ upToS: 4, count: 10 }]
  assert.equal(percentileOf(buckets, 0.5, BOUNDS), 3)
  assert.equal(percentileOf(buckets, 1, BOUNDS), 4)
  assert.equal(percentileOf([{ upToS: 1, count: 4 }], 0.5, BOUNDS), 0.5)
})

test('a share is looked for over all buckets, whatever their order', () => {
  const buckets = [
    { upToS: 4, count: 1 },
    { upToS: 1, count: 98 },
    { upToS: 2, count: 1 },
  ]
  assert.equal(percentileOf(buckets, 0.98, BOUNDS), 1)
  assert.equal(percentileOf(buckets, 0.99, BOUNDS), 2)
  assert.equal(percentileOf(buckets, 0.995, BOUNDS), 3)
})

test('above the last bound nothing is known but that bound', () => {
  const buckets = [
    { upToS: 1, count: 1 },
    { upToS: Number.POSITIVE_INFINITY, count: 9 },
  ]
  assert.equal(percentileOf(buckets, 0.5, BOUNDS), 4)
})

test('a bound that another release had is one all the same', () => {
  const buckets = [
    { upToS: 3, count: 1 },
    { upToS: 4, count: 1 },
  ]
  assert.equal(percentileOf(buckets, 1, BOUNDS), 4)
  assert.equal(percentileOf(buckets, 0.75, BOUNDS), 3.5)
})

test('without values there is none', () => {
  assert.ok(Number.isNaN(percentileOf([], 0.5, BOUNDS)))
  assert.ok(Number.isNaN(percentileOf([{ upToS: 1, count: 0 }], 0.5, BOUNDS)))
})
