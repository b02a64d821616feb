import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CronExpressionParser } from 'cron-parser'
import { longestWaitMs } from '../../src/config/recurrence.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

test('the longest wait of an expression is told by the expression alone, whenever it is asked', (t) => {
  // On a Monday morning the weekend is thousands of times away.
  t.mock.timers.enable({ apis: ['Date'], now: Date.parse('2026-11-23T09:00:00Z') })
  const waits: readonly (readonly [string, number])[] = [
    ['* 9-17 * * 1-5', 63 * HOUR + MINUTE],
    ['* * * * *', MINUTE],
    ['*/20 * * * *', 20 * MINUTE],
    ['5,10 * * * *', 55 * MINUTE],
    ['0 3 * * *', DAY],
    // Within the day it is longer than over night.
    ['30 1,23 * * *', 22 * HOUR],
    ['0 3 * * 1', 7 * DAY],
    ['0 3 31 * *', 61 * DAY],
    ['0 0 1 1 *', 366 * DAY],
    ['0 0 29 2 *', 1461 * DAY],
  ]
  for (const [expression, wait] of waits) assert.equal(longestWaitMs(expression), wait, expression)
})

test('it is what one finds who goes through all of the times', () => {
  for (const expression of ['7 */5 * * *', '*/25 8-9,20 * * 2,6', '0,1,59 0,23 1-3,28 * *', '15 12 L * *']) {
    const times = CronExpressionParser.parse(expression, {
      tz: 'UTC',
      currentDate: new Date('2024-01-01T00:00:00Z'),
    })
    let longest = 0
    let last = times.next().getTime()
    while (last < Date.parse('2025-03-01T00:00:00Z')) {
      const next = times.next().getTime()
      longest = Math.max(longest, next - last)
      last = next
    }
    assert.equal(longestWaitMs(expression), longest, expression)
  }
})
