import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ago, span } from '../../src/kit/span.ts'

describe('a length of time', () => {
  const lengths: [number | null, string][] = [
    [null, '-'],
    [0, '0 ms'],
    [0.018, '18 ms'],
    [0.4, '0.4 s'],
    [9.96, '10 s'],
    [59.4, '59 s'],
    [59.7, '1 min'],
    [60, '1 min'],
    [200, '3 min 20 s'],
    [3_599.7, '1 h'],
    [7_500, '2 h 5 min'],
    [86_399, '1 d'],
    [273_600, '3 d 4 h'],
    [-200, '-3 min 20 s'],
  ]
  for (const [seconds, text] of lengths)
    test(`of ${seconds} s is ${text}`, () => {
      assert.equal(span(seconds), text)
    })

  test('that has passed is so long ago, where it is known', () => {
    assert.deepEqual([ago(60), ago(null)], ['1 min ago', '-'])
  })
})
