import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { formatDuration, parseDuration } from '../../src/config/durations.ts'

describe('a duration', () => {
  test('is a number with a unit, or milliseconds', () => {
    const cases: [unknown, number][] = [
      ['500ms', 500],
      ['30s', 30_000],
      ['1.5s', 1500],
      ['5m', 300_000],
      ['1h', 3_600_000],
      ['7d', 604_800_000],
      [250, 250],
      [0, 0],
    ]
    for (const [given, ms] of cases) assert.equal(parseDuration(given), ms, String(given))
  })

  test('is nothing else', () => {
    for (const bad of [
      '',
      '30',
      's',
      '30 s',
      '-1s',
      '1w',
      '1e3s',
      -1,
      Number.NaN,
      Infinity,
      null,
      undefined,
      {},
    ]) {
      assert.equal(parseDuration(bad), undefined, JSON.stringify(bad))
    }
  })

  test('is written in its largest whole unit', () => {
    for (const text of ['7d', '25h', '90s', '1500ms', '0ms'] as const) {
      assert.equal(formatDuration(parseDuration(text) ?? -1), text)
    }
  })
})
