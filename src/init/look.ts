import { quoteQualified, splitQualified } from '../db/identifier.ts'
import type { Queryable } from '../db/pool.ts'
import { CannotRun } from '../doctor/check.ts'
import { IdentifierInvalid } from '../errors.ts'
import { explainSourceDenied } from '../tables/permission.ts'
import { describeSource, type SourceColumn, type SourceRelation } from '../tables/source.ts'
import { sql } from './statements.ts'

/** A column, as a guess looks at it. */
export interface LookedColumn extends SourceColumn {
  /** Its name where SQL needs quotes. */
  readonly quoted: string
  /** `pg_type.typcategory`: N numbers, B booleans, A arrays, C rows. */
  readonly category: string
  /** Of an enumeration. */
  readonly labels: readonly string[] | null
  /** It alone refers to another table. */
  readonly refers: boolean
  /** An index with an order begins with it. */
  readonly leads: boolean
}

export interface Key {
  readonly is_primary: boolean
  readonly columns: readonly string[]
  readonly not_null: boolean
}

/** A table as the catalogs have it. */
export interface Look {
  /** With its schema, quoted where SQL needs it: as the config may name it. */
  readonly table: string
  /** Plain, without its schema. */
  readonly name: string
  /** A name for a view of it. */
  readonly viewName: string
  readonly relkind: SourceRelation['relkind']
  readonly columns: readonly LookedColumn[]
  /** The primary key first. */
  readonly keys: readonly Key[]
}

/** @throws CannotRun with the remedy: there is no such table, or nobody may poll it */
export async function lookAtTable(db: Queryable, table: string): Promise<Look> {
  requireName(table)
  const relation = await describe(db, table)
  if (relation === undefined) throw await noSuchTable(db, table)
  const { qualified, relkind } = relation
  if (relkind === 'f')
    throw new CannotRun(
      `${qualified} is a foreign table: its rows are written where this database cannot see who is still writing, so that a poller could not tell that it has all of them`,
      'run Tidemark on the database where the table lies, or have its rows copied into a table here',
    )
  const [names] = (await db.query<{ name: string; view_name: string }>(sql.names, [qualified])).rows
  const kind = KINDS[relkind]
  if (kind === undefined || names === undefined)
    throw new CannotRun(
      `${qualified} is neither a table nor a view`,
      'name a table: tidemark init --table schema.table',
    )
  type Column = Omit<LookedColumn, keyof SourceColumn> & { name: string }
  const { rows } = await db.query<Column>(sql.columns, [qualified])
  const keys = await db.query<{ is_primary: boolean; columns: string[]; not_null: boolean }>(sql.keys, [
    qualified,
  ])
  return {
    table: qualified,
    name: names.name,
    viewName: names.view_name,
    relkind,
    columns: relation.columns.flatMap((column) => {
      const more = rows.find(({ name }) => name === column.name)
      return more === undefined ? [] : [{ ...column, ...more }]
    }),
    keys: keys.rows,
  }
}

/** What rows can be polled from. */
const KINDS: Readonly<Record<string, string>> = {
  r: 'table',
  p: 'partitioned table',
  v: 'view',
  m: 'materialized view',
}

function requireName(table: string): void {
  try {
    quoteQualified(table)
  } catch (error) {
    if (!(error instanceof IdentifierInvalid)) throw error
    throw new CannotRun(error.message, 'write schema.table, or table where it is on the search path', {
      cause: error,
    })
  }
}

async function describe(db: Queryable, table: string): Promise<SourceRelation | undefined> {
  try {
    return await describeSource(db, table)
  } catch (error) {
    throw await explainSourceDenied(db, error, table)
  }
}

async function noSuchTable(db: Queryable, table: string): Promise<CannotRun> {
  const parts = splitQualified(table)
  const { rows } = await db.query<{ name: string }>(sql.alike, [parts.at(-1) ?? table])
  const others = rows.map(({ name }) => name)
  const why = `there is no table ${quoteQualified(table).replaceAll(/"([a-z_][a-z0-9_]*)"/g, '$1')} in this database`
  if (others.length === 0)
    return new CannotRun(
      why,
      'make it, or write its name with its schema and its case: tidemark init --table shop.orders',
    )
  // The shell takes quotes away.
  const written = others.map((name) => `tidemark init --table ${name.includes('"') ? `'${name}'` : name}`)
  return new CannotRun(`${why}; there is ${others.join(', ')}`, written.join(', or '))
}
