import { interval } from '../db/interval.ts'
import type { Queryable } from '../db/pool.ts'
import { loadStatements } from '../db/statements.ts'

const sql = loadStatements('retention', ['look', 'raise', 'forget'])

/** What may be forgotten among some messages that follow each other. */
export interface Forgettable {
  /** Numbers of them, as text. */
  readonly old: readonly string[]
  /** Some are not below what was said to be forgotten. */
  readonly isHigher: boolean
  /** The greatest number that was looked at, as text; null: there was none. */
  readonly upTo: string | null
  /** The first that is of this poller and may be forgotten soon, or so young that one before it may still commit. */
  readonly soon: string | null
  /** There is nothing after it that could be forgotten. */
  readonly isLast: boolean
}

/** Looks at `batch` messages above `after`. */
export async function lookForForgettable(
  db: Queryable,
  poller: string,
  after: string,
  batch: number,
  retentionMs: number,
  rereadMs: number,
): Promise<Forgettable> {
  const { rows } = await db.query<{
    old: string[]
    is_higher: boolean
    up_to: string | null
    soon: string | null
    is_last: boolean | null
  }>(sql.look, [poller, after, batch, interval(retentionMs), interval(rereadMs)])
  const [row] = rows
  if (row === undefined) throw new Error('look returned no row')
  const { old, is_higher: isHigher, up_to: upTo, soon, is_last: isLast } = row
  return { old, isHigher, upTo, soon, isLast: isLast !== false }
}

/** Says that these are forgotten; false: a page that goes by what was said before is under way. */
export async function raiseForgotten(
  db: Queryable,
  poller: string,
  old: readonly string[],
): Promise<boolean> {
  const { rows } = await db.query<{ was_free: boolean }>(sql.raise, [poller, old])
  return rows[0]?.was_free === true
}

export interface Forgotten {
  readonly forgotten: number
  /** The first that is still there; null: none. */
  readonly leftOver: string | null
}

/** Deletes those of the messages that are finished and were said to be forgotten. */
export async function forgetMessages(
  db: Queryable,
  poller: string,
  old: readonly string[],
  retentionMs: number,
): Promise<Forgotten> {
  const { rows } = await db.query<{ forgotten: string; left_over: string | null }>(sql.forget, [
    poller,
    old,
    interval(retentionMs),
  ])
  const [row] = rows
  if (row === undefined) throw new Error('forget returned no row')
  return { forgotten: Number(row.forgotten), leftOver: row.left_over }
}
