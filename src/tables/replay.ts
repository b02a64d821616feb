import type { Queryable } from '../db/pool.ts'
import { fillIdentifiers, loadStatements } from '../db/statements.ts'
import { keysetSql, nextOf, takeInSql } from './takeIn.ts'
import type { TakeInSql } from './takeIn.ts'
import type { AloneRow } from './watermark.ts'

const sql = loadStatements('replay', ['page', 'next_id', 'missing'])

/** The statements of a replay from one source. */
export interface ReplaySql {
  readonly page: string
  readonly refuse: string
  readonly nextId: string
  readonly missing: string
}

/** `refused`: the parts that take a row in as DEAD, without its payload. */
export function replayStatements(parts: TakeInSql, refused: TakeInSql): ReplaySql {
  const page = (of: TakeInSql): string => fillIdentifiers(sql.page, { take_in: takeInSql(of, 'dated') })
  const { source, created_at, id, where, stored_id, time } = parts
  const keyset = keysetSql(parts, 'dated')
  return {
    page: page(parts),
    refuse: page(refused),
    nextId: nextOf(sql.next_id, parts, 'dated'),
    missing: fillIdentifiers(sql.missing, { source, created_at, id, where, stored_id, time, keyset }),
  }
}

/** Times as text, as PostgreSQL reads them: from, and before. */
export interface ReplayRange {
  readonly from: string
  readonly to: string
}

/** Where the next page begins; null: at the beginning of the range. */
export interface ReplayPosition {
  readonly scanTs: string | null
  readonly scanId: string | null
}

export interface MissingPage extends ReplayPosition {
  readonly rows: number
  readonly more: boolean
  /** Not in the inbox, and never forgotten; and those of which nobody knows whether they were processed. */
  readonly missing: number
  readonly forgotten: number
  readonly firstMissing: readonly string[]
  readonly firstForgotten: readonly string[]
  readonly forgottenBefore: string | null
}

interface MissingRow extends Record<string, unknown> {
  readonly n: string
  readonly more: boolean
  readonly scan_ts: string | null
  readonly scan_id: string | null
  readonly missing: string
  readonly forgotten: string
  readonly first_missing: string[]
  readonly first_forgotten: string[]
  readonly forgotten_before: string | null
}

/** One page of the dry run. Undefined: the poller is not known. */
export async function missingPage(
  db: Queryable,
  statement: string,
  poller: string,
  range: ReplayRange,
  position: ReplayPosition,
  pageSize: number,
): Promise<MissingPage | undefined> {
  const values = [poller, pageSize, position.scanTs, position.scanId, range.from, range.to]
  const [row] = (await db.query<MissingRow>(statement, values)).rows
  if (row === undefined) return undefined
  return {
    rows: Number(row.n),
    more: row.more,
    scanTs: row.scan_ts,
    scanId: row.scan_id,
    missing: Number(row.missing),
    forgotten: Number(row.forgotten),
    firstMissing: row.first_missing,
    firstForgotten: row.first_forgotten,
    forgottenBefore: row.forgotten_before,
  }
}

export interface ReplayPage extends ReplayPosition {
  readonly rows: number
  readonly inserted: number
  readonly more: boolean
}

/** Takes in one page. `alone`: one named row. Undefined: the poller is not known. */
export async function replayPage(
  db: Queryable,
  statement: string,
  poller: string,
  range: ReplayRange & { readonly includeForgotten: boolean },
  position: ReplayPosition,
  pageSize: number,
  maxAttempts: number,
  alone: AloneRow | null,
): Promise<ReplayPage | undefined> {
  const values = [
    ...[poller, pageSize, maxAttempts, alone?.refusal ?? null, alone?.id ?? null],
    ...[position.scanTs, position.scanId, range.from, range.to, range.includeForgotten],
  ]
  type Row = Record<string, unknown> & {
    n: string
    inserted: string
    more: boolean
    scan_ts: string | null
    scan_id: string | null
  }
  const [row] = (await db.query<Row>(statement, values)).rows
  if (row === undefined) return undefined
  return {
    rows: Number(row.n),
    inserted: Number(row.inserted),
    more: row.more,
    scanTs: row.scan_ts ?? position.scanTs,
    scanId: row.scan_id ?? position.scanId,
  }
}

/** Which row the next page would begin with. */
export async function replayNextId(
  db: Queryable,
  statement: string,
  poller: string,
  range: ReplayRange & { readonly includeForgotten: boolean },
  position: ReplayPosition,
): Promise<string | undefined> {
  const values = [poller, position.scanTs, position.scanId, range.from, range.to, range.includeForgotten]
  return (await db.query<{ id: string }>(statement, values)).rows[0]?.id
}
