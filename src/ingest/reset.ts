/**
 * A reset: a poller whose source changed, or that must start elsewhere, begins anew at a time that a person says.
 *
 * One transaction takes every lock in its order, so it waits for the pages under way (of a pass, a sweep, a replay) and
 * nothing writes meanwhile. It draws a term that nobody leads under, ends the lease, moves the edge, raises `pass` and drops
 * what was noted of living transactions; the ledger gets a row of its own. Whoever led finds the lease gone and stands again.
 *
 * - *A page of the old leader waits for the lock*: holder, term and pass are others now, and it is refused.
 * - *A run of the old leader is recorded late*: its term is lower than the reset's, so a watermark that is made again later
 *   still goes on from the reset.
 * - *The start is ahead of the edge, or in another source*: what lies before it is not wanted, and becomes forgotten, so that
 *   no sweep takes it in. It is counted for the person; `tidemark replay --include-forgotten` can still fetch it.
 * - *The start is behind the edge*: rows from there on are read again and passed over where they are in the inbox. It is
 *   never put into what retention has forgotten.
 * - *An instance with the old config is alive*: it would go on reading the old table with the new position. So while
 *   somebody leads, the reset of a source that changed is refused: with the new config nobody can lead it before the reset.
 */
import type { Queryable } from '../db/pool.ts'
import { PollerUnknown, ResetRefused } from '../errors.ts'
import { applyReset, lockForReset, lookAtReset } from '../tables/reset.ts'
import type { ResetLook } from '../tables/reset.ts'
import { lockRegistry } from '../tables/task.ts'
import type { SourceColumns } from '../tables/task.ts'
import { findMissing } from './replay.ts'
import type { ReplayOptions } from './replay.ts'
import type { PreparedSource } from './sourceSql.ts'

/** What a reset would do, before it is done: counted without locks, so passes may change it meanwhile. */
export interface ResetPreview {
  readonly look: ResetLook
  readonly isOtherSource: boolean
  /**
   * Rows before the new start that are not in the inbox and will not be taken in: those from the start that was asked for on,
   * where it lies in what is forgotten; else those that the edge would have come to. Null: not counted, since they are all
   * that is older in another source.
   */
  readonly skipped: number | null
  /** Rows from the new start on that are read again or for the first time, and how many of those the inbox has by their id. */
  readonly read: number
  readonly known: number
}

/** Looks and changes nothing. `from`: as PostgreSQL reads times. @throws PollerUnknown, ResetRefused */
export async function previewReset(options: ReplayOptions, from: string): Promise<ResetPreview> {
  const { db, name, source } = options
  const look = await lookAtReset(db, name, from)
  if (look === undefined) throw new PollerUnknown(name)
  if (look.is_future) {
    throw new ResetRefused(name, 'that start lies in the future', 'give a time that has been, or `now`')
  }
  const isOtherSource = isOther(look, source)
  const range = async (start: string, end: string): Promise<{ looked: number; missing: number }> => {
    const { looked, missing, forgotten } = await findMissing(options, { from: start, to: end })
    return { looked, missing: missing + forgotten }
  }
  const { edge, new_edge: start } = look
  const isAhead = look.is_ahead
  const left = leftOut(look, from, isOtherSource)
  const skipped = left === null ? null : left === undefined ? 0 : (await range(left, start)).missing
  const end = isOtherSource || isAhead || edge === null ? 'infinity' : edge
  const { looked, missing } = await range(start, end)
  return {
    look,
    isOtherSource,
    skipped,
    read: looked,
    known: looked - missing,
  }
}

/** Does it, in the transaction that `db` is in; resolves to the new edge. @throws PollerUnknown, ResetRefused */
export async function resetPoller(
  db: Queryable,
  name: string,
  source: PreparedSource,
  from: string,
): Promise<string> {
  await lockRegistry(db)
  const { term, leader } = await lockForReset(db, name)
  const look = await lookAtReset(db, name, from)
  if (look === undefined) throw new PollerUnknown(name)
  const isOtherSource = isOther(look, source)
  if (isOtherSource && leader !== undefined) {
    throw new ResetRefused(
      name,
      `${leader} leads it and still reads ${look.source_table ?? 'the old source'}`,
      'stop the instances that have the old config, then run this again',
    )
  }
  const start = { term, from, sourceTable: source.table, sourceColumns: source.columns, isOtherSource }
  return applyReset(db, name, start)
}

/** From where on rows are left out up to the new start; undefined: none are; null: all of another source. */
function leftOut(look: ResetLook, from: string, isOtherSource: boolean): string | undefined | null {
  if (look.is_forgotten) return from
  if (look.new_edge === '-infinity') return undefined
  if (isOtherSource) return null
  return look.is_ahead ? (look.edge ?? '-infinity') : undefined
}

/** Another table or another cursor; a changed condition is the same source. */
export function isOther(
  look: { source_table: string | null; source_columns: SourceColumns | null },
  source: PreparedSource,
): boolean {
  if (look.source_table === null) return false
  const { id, created_at } = source.columns
  return (
    look.source_table !== source.table ||
    look.source_columns?.id !== id ||
    look.source_columns.created_at !== created_at
  )
}
