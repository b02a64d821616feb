import pg from 'pg'
import type { ResolvedSource } from '../config/resolved.ts'
import { quoteIdentifier } from '../db/identifier.ts'
import { SourceInvalid } from '../errors.ts'
import type { ProbeSql, SourceColumn, SourceRelation } from '../tables/source.ts'
import type { SourceColumns } from '../tables/task.ts'
import { processedIdSql, storedIdSql } from '../tables/messageId.ts'
import { replayStatements } from '../tables/replay.ts'
import type { ReplaySql } from '../tables/replay.ts'
import { sweepStatements } from '../tables/sweep.ts'
import type { SweepSql } from '../tables/sweep.ts'
import { tailStatement } from '../tables/tail.ts'
import type { TailSql } from '../tables/tail.ts'
import { aheadStatement, nextIdStatement, pageStatement, skimStatement } from '../tables/watermark.ts'
import type { PageSql, PageText, SourceWindow } from '../tables/watermark.ts'
import { seenSql, windowOf } from './window.ts'

/** A source that has been checked against the catalogs, with its statements. */
export interface PreparedSource {
  readonly table: string
  readonly columns: SourceColumns
  /** Reads a page into the inbox. */
  readonly page: PageText
  /** The same, over rows that the last completed pass has seen. */
  readonly skim: PageText
  /** The same, for pages of so many rows that are most likely new. */
  readonly ahead: (pageSize: number) => PageText
  /** Null: nothing may be told from the age of its rows. */
  readonly window: SourceWindow | null
  /** The same without payload: takes in, as DEAD, a row that cannot be read. */
  readonly refuse: PageText
  /** Reads what lies behind the greatest cursor into the inbox. */
  readonly tail: TailSql
  /** Tells which row the next page begins with. */
  readonly nextId: string
  readonly sweep: SweepSql
  readonly replay: ReplaySql
  /** Rows may be without a time: the column can be NULL. */
  readonly canBeUndated: boolean
  /** What a pass asks of the source, to be tried on no row. */
  readonly probe: ProbeSql
}

/** What is smaller than every id of a type. The keyset begins there, one microsecond before the edge. */
const LOWEST_ID: Readonly<Record<string, string>> = {
  smallint: "'-32768'::smallint",
  integer: "'-2147483648'::integer",
  bigint: "'-9223372036854775808'::bigint",
  uuid: "'00000000-0000-0000-0000-000000000000'::uuid",
  text: "''::text",
  'character varying': "''::character varying",
}

const KINDS: Readonly<Record<string, string>> = {
  f: 'it is a foreign table: its rows are written where this database cannot see who is still writing',
  i: 'it is an index',
  S: 'it is a sequence',
  c: 'it is a composite type',
}

/**
 * Time first: two messages that arrive together have neighbouring ids, so the index on trace_id grows at its end.
 * 32 hex digits, as W3C trace context wants them (the form is AWS X-Ray's): 8 of the time, 8 drawn once a page, 16 of the
 * row's id under a key drawn once a page. A draw and its text for each row were 4 of 26 microseconds.
 */
const FRESH_TRACE_ID =
  "(SELECT lpad(to_hex(extract(epoch FROM now())::bigint), 8, '0') || left(gen_random_uuid()::text, 8)) || " +
  "lpad(to_hex(hashtextextended(p.id::text, (SELECT hashtextextended(gen_random_uuid()::text, 0)))), 16, '0')"

const TRACE_ID_FORM = "'^[A-Za-z0-9._:-]{1,128}$'"

/** A whole W3C `traceparent`, as telemetry/trace.ts reads it; those of later versions are only text to us. */
const TRACEPARENT_FORM = "'^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$'"

/** Checks a source against the catalogs and writes its statements. Throws {@link SourceInvalid} with thing and remedy. */
export function prepareSource(source: ResolvedSource, relation: SourceRelation | undefined): PreparedSource {
  if (relation === undefined) {
    throw new SourceInvalid(
      source.table,
      'there is no such table',
      'make it, or write its name with its schema and its case: schema.table',
    )
  }
  const wrongKind = KINDS[relation.relkind]
  if (wrongKind !== undefined)
    throw new SourceInvalid(source.table, wrongKind, 'point the poller at a table or view')
  if (relation.row_security) {
    throw new SourceInvalid(
      source.table,
      'row-level security may hide rows from this role, and a hidden row would count as never written',
      'use a role that the policies do not apply to (BYPASSRLS)',
    )
  }
  const column = columnFinder(source.table, relation.columns)
  const id = column('id', source.id)
  const lowest = LOWEST_ID[id.type]
  if (lowest === undefined) {
    throw new SourceInvalid(
      source.table,
      `the id column ${id.name} is ${id.type}; ids may be ${Object.keys(LOWEST_ID).join(', ')}`,
      `read it through a view that casts it: ${id.name}::text`,
    )
  }
  if (!id.deterministic) {
    throw new SourceInvalid(
      source.table,
      `the id column ${id.name} has a nondeterministic collation, under which different ids can be equal`,
      `read it through a view with ${id.name} COLLATE "C"`,
    )
  }
  const createdAt = column('createdAt', source.createdAt)
  const time = timeColumn(source, createdAt)
  const payload = payloadSql(source, column)
  const groupKey = source.groupKey === null ? null : column('groupKey', source.groupKey).name
  const trace = traceColumn(source, relation, column)

  const columns = [
    `tidemark_source.${quoteIdentifier(id.name)} AS id`,
    `${time.value} AS created_at`,
    ...payload.columns,
    ...(groupKey === null ? [] : [`tidemark_source.${quoteIdentifier(groupKey)}::text AS group_key`]),
    ...(trace === null ? [] : [`tidemark_source.${quoteIdentifier(trace)}::text AS trace_id`]),
  ]
  const parts: Omit<PageSql, 'payload' | 'trace_id' | 'traceparent' | 'message_id' | 'is_seen'> = {
    columns: columns.join(', '),
    source: relation.qualified,
    relation: pg.escapeLiteral(relation.qualified),
    created_at: quoteIdentifier(source.createdAt),
    id: quoteIdentifier(id.name),
    id_type: id.type,
    lowest_id: lowest,
    scan_from: time.bound('(SELECT me.scan_ts FROM me)'),
    where: source.where === null ? 'true' : `(${source.where}\n)`,
    stored_id: storedIdSql('page.id', id.type),
    group_key: groupKey === null ? 'NULL' : 'p.group_key',
  }
  const window = windowOf(relation, source.where)
  const is_seen = window === null ? 'false' : seenSql(time.raw, time.bound)
  const taken = {
    ...parts,
    message_id: processedIdSql('p.id', id.type),
    payload: payload.value,
    ...traceSql(trace, 'j.payload'),
  }
  const page = { ...taken, ...traceSql(trace, 'p.built'), is_seen }
  const refused = {
    ...parts,
    message_id: storedIdSql('p.id', id.type),
    payload: 'NULL::jsonb',
    ...(trace === null ? { trace_id: FRESH_TRACE_ID, traceparent: 'NULL' } : traceSql(trace, 'NULL')),
  }
  const beside = { bound: time.bound, time: time.value }
  // What fails by name is wanted, or its condition itself cannot be told: asked again, it would fail for ever.
  const refusedBeside = { ...refused, ...beside, where: 'true' }
  return {
    table: relation.qualified,
    columns: {
      id: quoteIdentifier(id.name),
      created_at: time.value.replace('tidemark_source.', 's.'),
      where: parts.where,
    },
    page: pageStatement(page),
    skim: skimStatement(page, {
      time: time.value,
      greatest: time.bound('(SELECT me.last_created_at FROM me)'),
      walked: time.bound('(SELECT walk.created_at FROM walk)'),
    }),
    ahead: (pageSize) => aheadStatement({ ...page, is_seen: 'false' }, pageSize),
    window,
    tail: tailStatement({ ...taken, ...beside }),
    nextId: nextIdStatement(parts),
    probe: parts,
    refuse: pageStatement({ ...refused, is_seen: 'false' }),
    sweep: sweepStatements({ ...taken, ...beside }, refusedBeside),
    replay: replayStatements({ ...taken, ...beside }, refusedBeside),
    canBeUndated: !createdAt.not_null,
  }
}

type ColumnFinder = (option: string, name: string) => SourceColumn

function columnFinder(table: string, columns: readonly SourceColumn[]): ColumnFinder {
  return (option, name) => {
    const column = columns.find((candidate) => candidate.name === name)
    if (column !== undefined) return column
    const names = columns.map((candidate) => candidate.name).join(', ')
    throw new SourceInvalid(
      table,
      `it has no column ${name}, named by \`${option}\``,
      `its columns are ${names}`,
    )
  }
}

/** The time column as timestamptz, and a timestamptz as the column has it. */
function timeColumn(
  source: ResolvedSource,
  column: SourceColumn,
): { raw: string; value: string; bound: (timestamptz: string) => string } {
  const raw = `tidemark_source.${quoteIdentifier(column.name)}`
  const fixed = column.default_expression
  if (fixed !== null && !/[(]|^(CURRENT_|LOCAL)/.test(fixed)) {
    throw new SourceInvalid(
      source.table,
      `the default of ${column.name} is the constant ${fixed}: every row would have the same time`,
      `ALTER TABLE … ALTER COLUMN ${quoteIdentifier(column.name)} SET DEFAULT now()`,
    )
  }
  if (column.type === 'timestamp with time zone') {
    if (source.timeZone === null) return { raw, value: raw, bound: (timestamptz) => timestamptz }
    throw new SourceInvalid(source.table, `${column.name} has a time zone of its own`, 'leave `timeZone` out')
  }
  if (column.type === 'timestamp without time zone') {
    // A zone with summer time has an hour that occurs twice and one that never does: positions would not be exact.
    if (source.timeZone === 'UTC') {
      return {
        raw,
        value: `(${raw} AT TIME ZONE 'UTC')`,
        bound: (timestamptz) => `(${timestamptz} AT TIME ZONE 'UTC')`,
      }
    }
    throw new SourceInvalid(
      source.table,
      `${column.name} is a timestamp without zone`,
      "if it holds UTC, set `timeZone: 'UTC'`; else read it through a view that converts it with AT TIME ZONE",
    )
  }
  throw new SourceInvalid(
    source.table,
    `the time column ${column.name} is ${column.type}`,
    '`createdAt` must be a timestamptz that the database sets when the row is written',
  )
}

/** Columns that a page carries for the payload, and the payload made of them, for new rows alone. */
function payloadSql(source: ResolvedSource, column: ColumnFinder): { columns: string[]; value: string } {
  if (source.payload === null) return { columns: ['tidemark_source AS whole'], value: 'to_jsonb(p.whole)' }
  if (typeof source.payload === 'string') {
    const { name, type } = column('payload', source.payload)
    const columns = [`tidemark_source.${quoteIdentifier(name)} AS payload`]
    if (type === 'jsonb') return { columns, value: 'p.payload' }
    const isText = type === 'json' || type === 'text' || type === 'character varying'
    return { columns, value: isText ? 'p.payload::jsonb' : 'to_jsonb(p.payload)' }
  }
  const names = source.payload.map((name) => column('payload', name).name)
  return {
    columns: names.map((name, i) => `tidemark_source.${quoteIdentifier(name)} AS payload_${i}`),
    value: `jsonb_build_object(${names.map((name, i) => `${pg.escapeLiteral(name)}, p.payload_${i}`).join(', ')})`,
  }
}

/** The column that holds the trace id; null: look into the payload. */
function traceColumn(source: ResolvedSource, relation: SourceRelation, column: ColumnFinder): string | null {
  if (source.traceId !== null) return column('traceId', source.traceId).name
  if (source.payload !== null) return null
  // The whole row is the payload: its column is its key, and cheaper to read.
  return relation.columns.some((candidate) => candidate.name === 'trace_id' && candidate.type === 'text')
    ? 'trace_id'
    : null
}

/**
 * What a row says of its trace: an id, or, in a column, a whole `traceparent`, which also names the span that wrote the row.
 * `payload`: the payload as it was built; each look into it may unpack it, so it is looked into for an id alone.
 */
function traceSql(column: string | null, payload: string): Pick<PageSql, 'trace_id' | 'traceparent'> {
  if (column === null)
    return {
      trace_id: `CASE WHEN jsonb_typeof(${payload} -> 'trace_id') = 'string' AND ${payload} ->> 'trace_id' ~ ${TRACE_ID_FORM}
              THEN ${payload} ->> 'trace_id' ELSE ${FRESH_TRACE_ID} END`,
      traceparent: 'NULL',
    }
  // Its length first: most ids have another, and are spared the expression.
  const isParent = `length(p.trace_id) = 55 AND p.trace_id ~ ${TRACEPARENT_FORM}`
  return {
    trace_id: `CASE WHEN ${isParent} THEN substr(p.trace_id, 4, 32) WHEN p.trace_id ~ ${TRACE_ID_FORM} THEN p.trace_id ELSE ${FRESH_TRACE_ID} END`,
    traceparent: `CASE WHEN ${isParent} THEN p.trace_id END`,
  }
}
