import type { Queryable } from '../db/pool.ts'
import { fillIdentifiers, loadStatements } from '../db/statements.ts'

const sql = loadStatements('watermark', ['begin', 'page', 'remake', 'exists'])

/** Names the writer in every statement: the database refuses one whose term or pass is over. */
export interface PassFence {
  readonly poller: string
  readonly holder: string
  readonly term: string
  readonly pass: string
}

export interface PassBegun {
  readonly pass: string
  /** Every transaction that lived at the candidate time has ended: this pass may move the edge. */
  readonly closed: boolean
  /** The server restarted, or the candidate was never set. */
  readonly reset: boolean
  readonly edge: string
}

/** Opens the next pass. Undefined: fenced out, or the row is missing. */
export async function beginPass(
  db: Queryable,
  fence: PassFence,
  slackMs: number,
): Promise<PassBegun | undefined> {
  const values = [fence.poller, fence.holder, fence.term, fence.pass, `${slackMs} ms`]
  return (await db.query<PassBegun & Record<string, unknown>>(sql.begin, values)).rows[0]
}

/** The parts of the page statement that a source decides, as SQL made of quoted identifiers (ingest/sourceSql.ts). */
export interface PageSql {
  readonly columns: string
  readonly source: string
  readonly created_at: string
  readonly id: string
  readonly id_type: string
  readonly lowest_id: string
  readonly scan_from: string
  readonly where: string
  readonly payload: string
  readonly group_key: string
  readonly trace_id: string
}

export interface PageRead {
  readonly rows: number
  readonly inserted: number
  readonly late: number
  /** The page was full: there may be another. */
  readonly more: boolean
  readonly edge: string
}

/** The page statement for one source, to be prepared once. */
export function pageStatement(parts: PageSql): string {
  return fillIdentifiers(sql.page, { ...parts })
}

/**
 * Reads one page from `statement` into the inbox. `refusal` marks the one row of a page of one as DEAD with that
 * reason. Undefined: fenced out, or the row is missing.
 */
export async function readPage(
  db: Queryable,
  statement: string,
  fence: PassFence,
  pageSize: number,
  maxAttempts: number,
  refusal: string | null,
): Promise<PageRead | undefined> {
  const values = [fence.poller, fence.holder, fence.term, fence.pass, pageSize, maxAttempts, refusal]
  const { rows } = await db.query<{ n: string; inserted: string; late: string; more: boolean; edge: string }>(
    statement,
    values,
  )
  const [row] = rows
  if (row === undefined) return undefined
  return {
    rows: Number(row.n),
    inserted: Number(row.inserted),
    late: Number(row.late),
    more: row.more,
    edge: row.edge,
  }
}

/** Makes a missing watermark again under the present leadership; undefined: it is there, or the leadership is over. */
export async function remakeWatermark(
  db: Queryable,
  fence: PassFence,
): Promise<{ edge: string } | undefined> {
  const values = [fence.poller, fence.holder, fence.term, fence.pass]
  return (await db.query<{ edge: string }>(sql.remake, values)).rows[0]
}

export async function watermarkExists(db: Queryable, poller: string): Promise<boolean> {
  return (await db.query<{ present: boolean }>(sql.exists, [poller])).rows[0]?.present === true
}
