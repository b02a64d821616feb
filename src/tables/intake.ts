import { interval } from '../db/interval.ts'
import { runPrepared } from '../db/pool.ts'
import type { MayPrepare, Queryable } from '../db/pool.ts'
import { loadStatements } from '../db/statements.ts'

const sql = loadStatements('intake', ['take', 'forget'])

/** A message as somebody sent it. */
export interface IntakeMessage {
  readonly messageId: string
  readonly groupKey: string | null
  /** JSON text: numbers stay as they were sent. */
  readonly payload: string
}

/** A message with what its request gives it. */
export interface IntakeRow extends IntakeMessage {
  readonly source: string
  readonly traceId: string
  readonly traceparent: string | null
  readonly maxAttempts: number
}

/** Names a message among all sources. */
export interface TakenMessage extends Record<string, unknown> {
  readonly source: string
  readonly message_id: string
}

/**
 * Takes messages in with one statement; resolves to those that were not there yet.
 * @param apart from every other such statement: waits until those under way have ended, and those that come later wait
 */
export async function takeMessages(
  db: MayPrepare,
  rows: readonly IntakeRow[],
  apart = false,
): Promise<TakenMessage[]> {
  const { rows: taken } = await runPrepared<TakenMessage>(db, 'tidemark_take', sql.take, [
    rows.map(({ source }) => source),
    rows.map(({ messageId }) => messageId),
    rows.map(({ groupKey }) => groupKey),
    rows.map(({ traceId }) => traceId),
    rows.map(({ traceparent }) => traceparent),
    rows.map(({ maxAttempts }) => maxAttempts),
    rows.map(({ payload }) => payload),
    apart,
  ])
  return taken
}

/** What one look at messages that follow each other came to. */
export interface ForgottenLook {
  readonly forgotten: number
  /** The greatest number that was looked at, as text; null: there was none. */
  readonly upTo: string | null
  /** The first that is still there and may be forgotten soon, or so young that one before it may still commit. */
  readonly soon: string | null
  /** There is nothing after it that could be forgotten. */
  readonly isLast: boolean
}

/** Looks at `batch` messages above `after`, and forgets those of this intake that are finished long enough. */
export async function forgetTaken(
  db: Queryable,
  intake: string,
  after: string,
  batch: number,
  retentionMs: number,
): Promise<ForgottenLook> {
  const { rows } = await db.query<{
    forgotten: string
    up_to: string | null
    soon: string | null
    is_last: boolean | null
  }>(sql.forget, [intake, after, batch, interval(retentionMs)])
  const [row] = rows
  if (row === undefined) throw new Error('forget returned no row')
  const { forgotten, up_to: upTo, soon, is_last: isLast } = row
  return { forgotten: Number(forgotten), upTo, soon, isLast: isLast !== false }
}
