/** Cron expressions and recurrence rules, as the parsers of pg-boss, which run them later, read them. */
import { CronExpressionParser } from 'cron-parser'
import { RRuleTemporal } from 'rrule-temporal'

export const CRON_FORM = /^\s*(?:[\d*,/A-Za-z?#-]+\s+){4}[\d*,/A-Za-z?#-]+\s*$/

/** By this pg-boss knows a rule from a cron expression. */
export const RRULE_FORM = /(?:^|[;:\s])FREQ=[A-Z]+/i

/** Times between which the longest wait is looked for: a year of days, or seventy of a yearly expression. */
const LOOKED_AT = 400
const LOOK_LIMIT_MS = 100

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

/** The longest time between two of an expression's times, as far as one looks ahead, in milliseconds. */
export function longestWaitMs(expression: string, tz: string): number {
  const times = CronExpressionParser.parse(expression, { tz })
  const started = performance.now()
  let longest = 0
  let last = times.next().getTime()
  for (let i = 0; i < LOOKED_AT && (i < 2 || performance.now() - started < LOOK_LIMIT_MS); i += 1) {
    const next = times.next().getTime()
    longest = Math.max(longest, next - last)
    last = next
  }
  return longest
}
