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
    is_last: boolean | null
  }>(sql.look, [poller, after, batch, `${retentionMs} ms`, `${rereadMs} ms`])
  const [row] = rows
  if (row === undefined) throw new Error('look returned no row')
  return { old: row.old, isHigher: row.is_higher, upTo: row.up_to, isLast: row.is_last !== false }
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

/** Deletes those of the messages that are finished and were said to be forgotten, and says how many. */
export async function forgetMessages(
  db: Queryable,
  poller: string,
  old: readonly string[],
  retentionMs: number,
): Promise<number> {
  const { rows } = await db.query<{ forgotten: string }>(sql.forget, [poller, old, `${retentionMs} ms`])
  return Number(rows[0]?.forgotten ?? 0)
}
