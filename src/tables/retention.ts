import type { Queryable } from '../db/pool.ts'
import { loadStatements } from '../db/statements.ts'

const sql = loadStatements('retention', ['raise', 'forget'])

/** Raises what may be forgotten of a poller; undefined: it is as high already, or there is no watermark. */
export async function raiseForgotten(
  db: Queryable,
  poller: string,
  retentionMs: number,
): Promise<string | undefined> {
  const { rows } = await db.query<{ forgotten_before: string }>(sql.raise, [poller, `${retentionMs} ms`])
  return rows[0]?.forgotten_before
}

export interface Forgotten {
  readonly forgotten: number
  /** The greatest number that was looked at, as text; null: there was none. */
  readonly upTo: string | null
  /** There is nothing after it that could be forgotten. */
  readonly isLast: boolean
}

/** Deletes what is finished and forgotten among the `looked` messages above `after`. */
export async function forgetMessages(
  db: Queryable,
  poller: string,
  after: string,
  looked: number,
  retentionMs: number,
): Promise<Forgotten> {
  const values = [poller, after, looked, `${retentionMs} ms`]
  const [row] = (
    await db.query<{ forgotten: string; up_to: string | null; is_last: boolean | null }>(sql.forget, values)
  ).rows
  if (row === undefined) throw new Error('forget returned no row')
  return { forgotten: Number(row.forgotten), upTo: row.up_to, isLast: row.is_last !== false }
}
