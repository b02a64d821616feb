import { createHash } from 'node:crypto'
import { interval } from '../db/interval.ts'
import { runPrepared } from '../db/pool.ts'
import type { MayPrepare, Queryable } from '../db/pool.ts'
import { fillIdentifiers, loadStatements } from '../db/statements.ts'

/** The statements of watermark.sql, and parts of them. */
export const WATERMARK_STATEMENTS = [
  'begin',
  'page',
  'reading',
  'alone',
  'skimming',
  'up_to_greatest',
  'fresh',
  'ahead',
  'next_id',
  'remake',
  'exists',
] as const

const sql = loadStatements('watermark', WATERMARK_STATEMENTS)

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
  /** Reset, although a candidate had been noted: the server lives another life than then. */
  readonly other_boot: boolean
  readonly edge: string
  /** What the last completed pass has seen is known: pages can skim over it. */
  readonly seen: boolean
  /** The database's clock stepped back by about this much, as text; null: it did not. */
  readonly clock_behind_ms: string | null
}

/**
 * Opens the next pass. `sinceMs`: how long ago the newest pass that was completed began, at most; the scan goes back so
 * far even behind a later edge. `begunMs`: how long ago a pass was begun last, by the clock of the process that did, so
 * that a step of the database's shows against it; undefined: another process did, or nobody knows: then `sinceMs` stands in.
 * `window`: what tells this source from another, where rows may be told by their age.
 * Returns undefined: fenced out, or the row is missing.
 */
export async function beginPass(
  db: Queryable,
  fence: PassFence,
  slackMs: number,
  sinceMs = 0,
  begunMs?: number,
  window: SourceWindow | null = null,
): Promise<PassBegun | undefined> {
  const { poller, holder, term, pass } = fence
  const begun = begunMs === undefined ? null : interval(slackMs + begunMs)
  const slack = [interval(slackMs), interval(slackMs + sinceMs), begun]
  const values = [poller, holder, term, pass, ...slack, window?.condition ?? null, window?.table ?? null]
  return (await db.query<PassBegun & Record<string, unknown>>(sql.begin, values)).rows[0]
}

/** A source whose rows may be told by their age; ingest/window.ts says which. */
export interface SourceWindow {
  readonly table: string
  /** Differs where the condition on its rows does. */
  readonly condition: string
}

/** The parts of the page statement that a source decides, as SQL made of quoted identifiers (ingest/sourceSql.ts). */
export interface PageSql {
  readonly columns: string
  readonly source: string
  /** The same as a literal. */
  readonly relation: string
  readonly created_at: string
  readonly id: string
  readonly id_type: string
  readonly lowest_id: string
  readonly scan_from: string
  readonly where: string
  readonly payload: string
  /** The id of a row as the inbox keeps it, of `page` and of `p`; see messageId.ts. */
  readonly stored_id: string
  readonly message_id: string
  readonly group_key: string
  readonly trace_id: string
  /** SQL: the span that wrote it, or NULL. */
  readonly traceparent: string
  /** Whether the last completed pass has seen a row. */
  readonly is_seen: string
}

/** What skimming needs besides. */
export interface SkimSql {
  /** The time of a row as timestamptz. */
  readonly time: string
  /** The time of the greatest cursor, and of the last row walked over, as the time column has them. */
  readonly greatest: string
  readonly walked: string
}

export interface PageRead {
  readonly rows: number
  readonly inserted: number
  readonly late: number
  /** The page was full: there may be another. */
  readonly more: boolean
  readonly edge: string
  /** There is more to skim. */
  readonly skims: boolean
}

/**
 * How a page is read. `page`: looks for each row in the inbox. `ahead`: does not, for rows that are new. `skim`: passes over
 * rows that the last completed pass has seen, many at once, up to the greatest cursor.
 */
export type PageWay = 'page' | 'ahead' | 'skim'

/** A page statement, and the name that it is prepared by where it is planned once. */
export interface PageText {
  readonly name?: string
  readonly text: string
}

/** The page statement for one source. */
export function pageStatement(parts: PageSql): PageText {
  const alone = fillIdentifiers(sql.alone, { id: parts.id })
  return { text: takeStatement(readingSql(parts, '$5::integer', alone), parts, sql.fresh) }
}

/** The same for pages of exactly so many rows that are most likely new. */
export function aheadStatement(parts: PageSql, pageSize: number): Required<PageText> {
  const text = takeStatement(readingSql(parts, String(pageSize), 'true'), parts, sql.ahead)
  return { name: `tidemark_ahead_${createHash('sha256').update(text).digest('hex').slice(0, 16)}`, text }
}

/** The same for a page that skims; with one value more, the rows to walk over. */
export function skimStatement(parts: PageSql, skim: SkimSql): PageText {
  const { columns, source, created_at, id, id_type, lowest_id, scan_from, where, is_seen } = parts
  const keyset = { columns, source, created_at, id, id_type, lowest_id, scan_from, where, is_seen }
  const { time, greatest, walked } = skim
  const ahead = fillIdentifiers(sql.up_to_greatest, {
    created_at,
    id,
    id_type,
    lowest_id,
    scan_from,
    greatest,
  })
  return {
    text: takeStatement(fillIdentifiers(sql.skimming, { ...keyset, ahead, time, walked }), parts, sql.fresh),
  }
}

function readingSql(parts: PageSql, limit: string, alone: string): string {
  const { columns, source, created_at, id, id_type, lowest_id, scan_from, where, is_seen } = parts
  const keyset = {
    columns,
    source,
    created_at,
    id,
    id_type,
    lowest_id,
    scan_from,
    where,
    is_seen,
    limit,
    alone,
  }
  return fillIdentifiers(sql.reading, keyset)
}

function takeStatement(reading: string, parts: PageSql, from: string): string {
  const { payload, stored_id, message_id, id_type, relation } = parts
  const { group_key, trace_id, traceparent } = parts
  const fresh = fillIdentifiers(from, from === sql.fresh ? { payload, stored_id } : { payload })
  return fillIdentifiers(sql.page, {
    reading,
    fresh,
    message_id,
    group_key,
    trace_id,
    traceparent,
    id_type,
    relation,
  })
}

type KeysetSql = Pick<
  PageSql,
  'source' | 'created_at' | 'id' | 'id_type' | 'lowest_id' | 'scan_from' | 'where'
>

/** The statement that tells which row the next page begins with, for one source. */
export function nextIdStatement(parts: KeysetSql): string {
  const { source, created_at, id, id_type, lowest_id, scan_from, where } = parts
  return fillIdentifiers(sql.next_id, { source, created_at, id, id_type, lowest_id, scan_from, where })
}

/** Which row the next page would begin with; undefined: there is none, or the pass is over. */
export async function nextId(
  db: Queryable,
  statement: string,
  fence: PassFence,
): Promise<string | undefined> {
  const values = [fence.poller, fence.holder, fence.term, fence.pass]
  return (await db.query<{ id: string }>(statement, values)).rows[0]?.id
}

/** A page of one named row; with a reason, the row is taken in as DEAD. */
export interface AloneRow {
  readonly id: string
  readonly refusal: string | null
}

/** Reads one page into the inbox; `reach`: how far one that skims walks. Undefined: fenced out, or the row is missing. */
export async function readPage(
  db: MayPrepare,
  { name, text }: PageText,
  fence: PassFence,
  pageSize: number,
  maxAttempts: number,
  alone: AloneRow | null,
  reach?: number,
): Promise<PageRead | undefined> {
  const { poller, holder, term, pass } = fence
  const values = [
    poller,
    holder,
    term,
    pass,
    pageSize,
    maxAttempts,
    alone?.refusal ?? null,
    alone?.id ?? null,
    ...(reach === undefined ? [] : [reach]),
  ]
  const { rows } =
    name === undefined
      ? await db.query<PageRow>(text, values)
      : await runPrepared<PageRow>(db, name, text, values)
  const [row] = rows
  if (row === undefined) return undefined
  return {
    rows: Number(row.n),
    inserted: Number(row.inserted),
    late: Number(row.late),
    more: row.more,
    edge: row.edge,
    skims: row.skims,
  }
}

interface PageRow extends Pick<PageRead, 'more' | 'edge' | 'skims'>, Record<string, unknown> {
  readonly n: string
  readonly inserted: string
  readonly late: string
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
