/** Cron expressions and recurrence rules, as the parsers of pg-boss, which run them later, read them. */
import { CronExpressionParser } from 'cron-parser'
import { RRuleTemporal } from 'rrule-temporal'

export const CRON_FORM = /^\s*(?:[\d*,/A-Za-z?#-]+\s+){4}[\d*,/A-Za-z?#-]+\s*$/

/** By this pg-boss knows a rule from a cron expression. */
export const RRULE_FORM = /(?:^|[;:\s])FREQ=[A-Z]+/i

/** Days between which the longest wait is looked for, from a fixed one on: more than a year of all days … */
const LOOKED_AT = 400
const FROM = Date.UTC(2024, 0, 1)
/** … and no more than two leap years of some. */
const TO = Date.UTC(2032, 2, 1)
const DAY_S = 86_400

/** What the parser has against a cron expression; it cannot be asked in another way. */
export function cronFault(expression: string): string | undefined {
  return faultOf(() => CronExpressionParser.parse(expression))
}

export function rruleFault(rule: string): string | undefined {
  const lines = rule
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== '')
  const named = lines.map((line) => (/^[a-z][a-z0-9-]*[;:]/i.test(line) ? line : `RRULE:${line}`))
  // Without a DTSTART pg-boss counts from the epoch, in the zone of the job.
  const isDated = named.some((line) => /^DTSTART/i.test(line))
  const text = [...(isDated ? [] : ['DTSTART:19700101T000000']), ...named].join('\n')
  return faultOf(() => new RRuleTemporal({ rruleString: text, tzid: 'UTC', strict: true }))
}

function faultOf(parse: () => unknown): string | undefined {
  try {
    parse()
    return undefined
  } catch (error) {
    return error instanceof Error ? error.message : 'it cannot be read'
  }
}

/**
 * The longest time between two of an expression's times, in milliseconds; the hour of a change of clocks is left out. It is a
 * property of the expression, and the same whenever it is asked for: every day has the same times, so that what lies between
 * them is reckoned, and only the days are gone through.
 */
export function longestWaitMs(expression: string): number {
  const { hour, minute, second } = CronExpressionParser.parse(expression, { tz: 'UTC' }).fields
  const parts = [
    { values: hour.values, unitS: 3_600 },
    { values: minute.values, unitS: 60 },
    { values: second.values, unitS: 1 },
  ]
  // From the last time within a unit (a day, an hour, a minute) to the first in the next, from the smallest up.
  let [firstS, lastS, longestS] = [0, 0, 0]
  for (const { values, unitS } of parts.reverse()) {
    const units = values.map(Number)
    for (const [i, unit] of units.entries())
      if (i > 0) longestS = Math.max(longestS, (unit - (units[i - 1] ?? unit)) * unitS + firstS - lastS)
    firstS += (units[0] ?? 0) * unitS
    lastS += (units.at(-1) ?? 0) * unitS
  }
  return Math.max(longestS, longestDays(expression) * DAY_S + firstS - lastS) * 1000
}

function longestDays(expression: string): number {
  const days = `0 0 ${expression.trim().split(/\s+/).slice(-3).join(' ')}`
  const times = CronExpressionParser.parse(days, { tz: 'UTC', currentDate: new Date(FROM - 1) })
  let longest = 0
  let last = times.next().getTime()
  for (let i = 0; i < LOOKED_AT && last < TO; i += 1) {
    const next = times.next().getTime()
    longest = Math.max(longest, next - last)
    last = next
  }
  return Math.round(longest / (DAY_S * 1000))
}
