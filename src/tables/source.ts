import { quoteIdentifier, quoteQualified } from '../db/identifier.ts'
import { interval } from '../db/interval.ts'
import type { Queryable } from '../db/pool.ts'
import { fillIdentifiers, loadStatements } from '../db/statements.ts'
import type { SourceColumns } from './task.ts'

const sql = loadStatements('source', ['describe', 'columns', 'count_older', 'probe', 'clock', 'last_times'])

export interface SourceColumn {
  readonly name: string
  readonly type: string
  readonly not_null: boolean
  readonly default_expression: string | null
  readonly deterministic: boolean
  /** `pg_attribute.atttypmod`: for a time its digits after the second; null: all six. */
  readonly modifier: number | null
}

export interface SourceRelation {
  /** Schema and name, quoted where SQL needs it. */
  readonly qualified: string
  /** `pg_class.relkind`: r table, p partitioned, v view, m materialized view, f foreign table. */
  readonly relkind: string
  /** A plain table, each row of which says which transaction wrote it, and this role may read that. */
  readonly has_xmin: boolean
  /** Row-level security applies to this role: rows may be hidden from it. */
  readonly row_security: boolean
  readonly columns: readonly SourceColumn[]
}

/** What the catalogs say of a table; undefined when there is none of that name. */
export async function describeSource(db: Queryable, table: string): Promise<SourceRelation | undefined> {
  const quoted = quoteQualified(table)
  const { rows } = await db.query<Omit<SourceRelation, 'columns'> & Record<string, unknown>>(sql.describe, [
    quoted,
  ])
  const [relation] = rows
  if (relation === undefined) return undefined
  const columns = await db.query<SourceColumn & Record<string, unknown>>(sql.columns, [quoted])
  // Without any column it has most likely been dropped since the first look.
  if (columns.rows.length === 0 && (await db.query(sql.describe, [quoted])).rows.length === 0)
    return undefined
  return { ...relation, columns: columns.rows }
}

/** Rows of a source that are older than `ageMs`. */
export async function countOlder(
  db: Queryable,
  table: string,
  columns: SourceColumns,
  ageMs: number,
): Promise<number> {
  const { created_at, where } = columns
  const text = fillIdentifiers(sql.count_older, { source: table, created_at, where })
  return Number((await db.query<{ older: string }>(text, [interval(ageMs)])).rows[0]?.older ?? 0)
}

/** The parts of the probe, as SQL made of quoted identifiers. */
export interface ProbeSql {
  readonly columns: string
  readonly source: string
  readonly where: string
}

/** Fails with PostgreSQL's error where a pass over this source would. */
export async function probeSource(db: Queryable, { columns, source, where }: ProbeSql): Promise<void> {
  await db.query(fillIdentifiers(sql.probe, { columns, source, where }))
}

/** What the catalogs and the newest rows tell of who sets a row's time. */
export interface SourceClock {
  /** Name of a BEFORE INSERT trigger for each row, which may set it. */
  readonly trigger: string | null
  /** Rows come from another server, with its times. */
  readonly subscribed: boolean
  /** How many of the last 1,000 times there are, and whether all of them are whole milliseconds. */
  readonly n: number
  readonly whole: boolean
  /** How many rows have no time; {@link UNDATED_MOST} and one more means more than that. */
  readonly undated: number
  /** How many of the last 1,000 rows have no id. */
  readonly nameless: number
}

/** Rows without a time are counted up to here. */
export const UNDATED_MOST = 1_000

/** `createdAt` and `id` are the plain names of the columns. */
export async function readClock(
  db: Queryable,
  relation: SourceRelation,
  createdAt: string,
  id: string,
): Promise<SourceClock> {
  type Part<K extends keyof SourceClock> = Pick<SourceClock, K> & Record<string, unknown>
  const clock = await db.query<Part<'trigger' | 'subscribed'>>(sql.clock, [relation.qualified])
  const text = fillIdentifiers(sql.last_times, {
    source: relation.qualified,
    created_at: quoteIdentifier(createdAt),
    id: quoteIdentifier(id),
  })
  const nullable = relation.columns.some(({ name, not_null: notNull }) => name === createdAt && !notNull)
  const times = await db.query<Part<'n' | 'whole' | 'undated' | 'nameless'>>(text, [nullable])
  const none = { trigger: null, subscribed: false, n: 0, whole: false, undated: 0, nameless: 0 }
  return { ...none, ...clock.rows[0], ...times.rows[0] }
}
