/**
 * The history in steps of 10 and of 60 minutes, so that a day and a week are read from thousands of rows and not from hundreds of
 * thousands.
 *
 *     history_minute ──every 10 min: what came since, the two newest hours, and one older stretch──▶ history_step
 *           └── the newest steps, which may not be whole ──┐            └── all before ──▶ a day, a week ◀─┘
 *
 * The minutes own the truth, and steps are made from them anew, never added to. So
 *
 * - *a run comes twice, or two at once*: the second one writes the same;
 * - *counts come late* (an instance that had no database for an hour writes them in their own minutes): the newest hours are
 *   made again at every run, and older ones in their turn, all of them once in five hours;
 * - *the table is new, was dropped, or an older release ran for days*: it is caught up with, a day at a time. Meanwhile readers
 *   read minutes from where steps end;
 * - *nobody lived for a while*: there are no minutes, and nothing to do.
 */
import { interval } from '../../db/interval.ts'
import type { Queryable } from '../../db/pool.ts'
import { loadStatements } from '../../db/statements.ts'
import { SUMMED } from './points.ts'
import type { StoredStep } from './points.ts'

const sql = loadStatements('history_step', ['reach', 'roll_up', 'forget', 'read'])

/** How often steps are made, in milliseconds. Readers read as many minutes themselves, and one step more. */
export const ROLL_UP_EVERY_MS = 600_000

const HOUR_MS = 3_600_000
/** Made at once when there is much to do: 86,000 rows with three busy sources, 0.14 s. */
const STRETCH_MS = 24 * HOUR_MS
/** Of what has long been made, how much is made again at each run: 20,000 rows, 0.02 s. */
const AGAIN_MS = 6 * HOUR_MS

interface Reach extends Record<string, unknown> {
  readonly oldest_ms: number | null
  readonly newest_ms: number | null
  readonly next_ms: number | null
  readonly now_ms: number
}

/** Makes the steps of what came since the last time. False: there is more to do. */
export async function rollUpHistory(db: Queryable): Promise<boolean> {
  const [reach] = (await db.query<Reach>(sql.reach)).rows
  if (reach === undefined) return true
  const { oldest_ms: oldest, newest_ms: newest, next_ms: next, now_ms: now } = reach
  if (newest !== null) await rollUp(db, newest - HOUR_MS, newest + HOUR_MS)
  if (next !== null) await rollUp(db, next, next + STRETCH_MS)
  if (next !== null && next + STRETCH_MS <= now) return false
  // The first hour may be forgotten in part already, and would become less than it was.
  if (oldest !== null && newest !== null) await rollUpAgain(db, oldest + HOUR_MS, newest - HOUR_MS, now)
  return true
}

/** Another one of the stretches at each run, by the clock: whoever makes it need not know who made the last. */
async function rollUpAgain(db: Queryable, from: number, to: number, now: number): Promise<void> {
  const stretches = Math.ceil((to - from) / AGAIN_MS)
  if (stretches <= 0) return
  const begin = from + (Math.floor(now / ROLL_UP_EVERY_MS) % stretches) * AGAIN_MS
  await rollUp(db, begin, Math.min(begin + AGAIN_MS, to))
}

async function rollUp(db: Queryable, fromMs: number, toMs: number): Promise<void> {
  await db.query(sql.roll_up, [new Date(fromMs).toISOString(), new Date(toMs).toISOString(), SUMMED])
}

/** Deletes what is older than that, in milliseconds. */
export async function forgetSteps(db: Queryable, afterMs: number): Promise<void> {
  await db.query(sql.forget, [interval(afterMs)])
}

/** The length of the stored steps, in minutes, of which steps of so many minutes are made; undefined: of minutes alone. */
export function storedLength(stepMinutes: number): number | undefined {
  return [60, 10].find((length) => stepMinutes % length === 0)
}

/** Rows of a stretch in steps of so many minutes, from stored steps of that length. */
export async function readSteps(
  db: Queryable,
  of: {
    readonly from: string
    readonly to: string
    readonly stepMinutes: number
    readonly storedMinutes: number
  },
): Promise<StoredStep[]> {
  const values = [of.from, of.to, of.stepMinutes * 60, SUMMED, of.storedMinutes]
  return (await db.query<StoredStep & Record<string, unknown>>(sql.read, values)).rows
}
