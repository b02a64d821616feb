import { quoteQualified } from '../db/identifier.ts'
import type { Queryable } from '../db/pool.ts'
import { fillIdentifiers, loadStatements } from '../db/statements.ts'
import type { SourceColumns } from './task.ts'

const sql = loadStatements('source', ['describe', 'columns', 'count_older'])

export interface SourceColumn {
  readonly name: string
  readonly type: string
  readonly not_null: boolean
  readonly default_expression: string | null
  readonly deterministic: boolean
}

export interface SourceRelation {
  /** Schema and name, quoted where SQL needs it. */
  readonly qualified: string
  /** `pg_class.relkind`: r table, p partitioned, v view, m materialized view, f foreign table. */
  readonly relkind: string
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
  return Number((await db.query<{ older: string }>(text, [`${ageMs} ms`])).rows[0]?.older ?? 0)
}
