import { CronExpressionParser } from 'cron-parser'

/** When passes are due, by the database's clock; times are milliseconds since 1970. */
export interface Rhythm {
  /** Whether a new leader makes a pass at once; if not, it waits for the next time. */
  readonly atOnce: boolean
  /** The time after the one that was due at `due`, seen from `now`: in the future, and not beyond the next one. */
  next(due: number, now: number): number
  /** How many times lie after `due` and not after `until`. */
  between(due: number, until: number): number
}

/** Times are kept (due + interval); when a pass took longer than that, or the clock stepped back, they begin anew. */
export function everyRhythm(everyMs: number): Rhythm {
  return {
    atOnce: true,
    next(due, now) {
      const kept = due + everyMs
      return kept > now && kept <= now + everyMs ? kept : now + everyMs
    },
    between: (due, until) => Math.max(0, Math.floor((until - due) / everyMs)),
  }
}

/** A clock that stepped back by more than this meets a time again, in milliseconds; by less, it is the same one. */
export const SAME_TIME_MS = 60_000

/** More of them in one outage are told as so many. */
const MOST_COUNTED = 10_000

/** The times of a cron expression in a zone: what falls into the hour that a change of clocks leaves out comes after it. */
export function cronRhythm({ expression, tz }: { expression: string; tz: string }): Rhythm {
  const after = (time: number) => CronExpressionParser.parse(expression, { tz, currentDate: new Date(time) })
  return {
    atOnce: false,
    next: (due, now) =>
      after(due - now > SAME_TIME_MS ? now : Math.max(due, now))
        .next()
        .getTime(),
    between(due, until) {
      const times = after(due)
      let count = 0
      while (count < MOST_COUNTED && times.next().getTime() <= until) count += 1
      return count
    },
  }
}
