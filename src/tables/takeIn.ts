import { fillIdentifiers, loadStatements } from '../db/statements.ts'
import type { PageSql } from './watermark.ts'

const { take_in: TAKE_IN } = loadStatements('take_in', ['take_in'])
const KEYSETS = loadStatements('keyset', ['dated', 'undated'])

/** The parts that a source decides of a statement which takes rows in and proves nothing. */
export interface TakeInSql extends Omit<PageSql, 'scan_from' | 'is_seen' | 'relation'> {
  /** SQL: a timestamptz as the time column has it. */
  readonly bound: (timestamptz: string) => string
  /** SQL: the time of a row as timestamptz. */
  readonly time: string
}

/** How a source is walked: by time and id, or, where rows have no time, by id alone. */
export type Walk = 'dated' | 'undated'

/** The rows after the position in `me`, within its bounds. */
export function keysetSql(parts: TakeInSql, walk: Walk): string {
  const { created_at, id, id_type, lowest_id, bound } = parts
  if (walk === 'undated') return fillIdentifiers(KEYSETS.undated, { created_at, id, id_type, lowest_id })
  return fillIdentifiers(KEYSETS.dated, {
    created_at,
    id,
    id_type,
    lowest_id,
    from_ts: bound('(SELECT greatest(me.scan_ts, me.low) FROM me)'),
    scan_ts: bound('(SELECT me.scan_ts FROM me)'),
    high: bound('(SELECT me.high FROM me)'),
  })
}

/** The middle of such a statement: reads a page and inserts what is not in the inbox. `limit`: of the page, as SQL. */
export function takeInSql(parts: TakeInSql, walk: Walk, limit = '$2::integer'): string {
  const { columns, source, created_at, id, where, payload, stored_id, message_id } = parts
  const { group_key, trace_id, traceparent } = parts
  return fillIdentifiers(TAKE_IN, {
    keyset: keysetSql(parts, walk),
    limit,
    columns,
    source,
    created_at,
    id,
    where,
    payload,
    stored_id,
    message_id,
    group_key,
    trace_id,
    traceparent,
  })
}

/** Fills a statement that tells which row the next page begins with. */
export function nextOf(statement: string, parts: TakeInSql, walk: Walk): string {
  const { source, created_at, id } = parts
  return fillIdentifiers(statement, { source, created_at, id, keyset: keysetSql(parts, walk) })
}
