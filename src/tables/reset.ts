import type { Queryable } from '../db/pool.ts'
import { loadStatements } from '../db/statements.ts'
import type { SourceColumns } from './task.ts'

const sql = loadStatements('reset', [
  'draw_term',
  'end_lease',
  'lock_watermark',
  'lock_sweep',
  'lock_task',
  'look',
  'apply',
])

/** Where a poller is, and where a new start would put it. Times are text. */
export interface ResetLook {
  readonly source_table: string | null
  readonly source_columns: SourceColumns | null
  /** Without a watermark the last one of the ledger; null: there is none either. */
  readonly edge: string | null
  readonly forgotten_before: string | null
  readonly new_edge: string
  readonly is_future: boolean
  /** The start lies in what is forgotten; the new edge does not. */
  readonly is_forgotten: boolean
  /** The new edge is later than the present one; also where there is none. */
  readonly is_ahead: boolean
}

/** Undefined: there is no such poller. `from`: as PostgreSQL reads times. */
export async function lookAtReset(
  db: Queryable,
  poller: string,
  from: string,
): Promise<ResetLook | undefined> {
  return (await db.query<ResetLook & Record<string, unknown>>(sql.look, [poller, from])).rows[0]
}

/** Takes all locks of a reset, in their order. Undefined as `leader`: nobody led. */
export async function lockForReset(
  db: Queryable,
  poller: string,
): Promise<{ term: string; leader: string | undefined }> {
  const [drawn] = (await db.query<{ term: string }>(sql.draw_term, [poller])).rows
  if (drawn === undefined) throw new Error('draw_term returned no row')
  const [lease] = (await db.query<{ leader: string | null }>(sql.end_lease, [poller])).rows
  await db.query(sql.lock_watermark, [poller])
  await db.query(sql.lock_sweep, [poller])
  await db.query(sql.lock_task, [poller])
  return { term: drawn.term, leader: lease?.leader ?? undefined }
}

export interface NewStart {
  readonly term: string
  readonly from: string
  readonly sourceTable: string
  readonly sourceColumns: SourceColumns
  readonly isOtherSource: boolean
}

/** Gives the poller its new start, in the transaction that has its locks; resolves to the new edge. */
export async function applyReset(db: Queryable, poller: string, start: NewStart): Promise<string> {
  const { term, from, sourceTable, sourceColumns, isOtherSource } = start
  const values = [poller, term, from, sourceTable, JSON.stringify(sourceColumns), isOtherSource]
  const [row] = (await db.query<{ edge: string }>(sql.apply, values)).rows
  if (row === undefined) throw new Error('apply returned no row')
  return row.edge
}
