import { readdirSync, readFileSync } from 'node:fs'
import { SqlFileInvalid } from '../../errors.ts'
import { sqlPath } from '../folder.ts'

/** The folder that postgres-migrations reads. */
export const MIGRATIONS_FOLDER = sqlPath('migrations')

/** postgres-migrations runs a file outside a transaction when this stands anywhere in it. */
const OUTSIDE_TRANSACTION = '-- postgres-migrations disable-transaction'

/** Whether a migration's text asks to run outside a transaction, as CREATE INDEX CONCURRENTLY must. */
export function runsOutsideTransaction(text: string): boolean {
  return text.includes(OUTSIDE_TRANSACTION)
}

interface MigrationText {
  readonly id: number
  readonly file: string
  readonly text: string
}

function readMigrations(): MigrationText[] {
  return readdirSync(MIGRATIONS_FOLDER)
    .filter((file) => file.endsWith('.sql'))
    .map((file) => {
      const id = Number(/^(\d+)[-_]/.exec(file)?.[1])
      if (!Number.isInteger(id))
        throw new SqlFileInvalid(`sql/migrations/${file}`, 'the name begins with no number')
      return { id, file, text: readFileSync(sqlPath(`migrations/${file}`), 'utf8') }
    })
    .sort((a, b) => a.id - b.id)
}

const migrations = readMigrations()

/** Version of the schema that this release was written for: the number of its newest migration. */
export const CODE_SCHEMA_VERSION = Math.max(0, ...migrations.map(({ id }) => id))

/** What must be there once every file has run, with its schema. */
export interface SchemaObjects {
  /** Those of the relations that hold data: without one of them, work cannot go on. */
  readonly tables: readonly string[]
  readonly relations: readonly string[]
  /** Those that a later file gave to a table, each with it: what makes the table again does not bring them. */
  readonly columns: readonly string[]
  readonly functions: readonly string[]
}

const MADE_OR_DROPPED =
  /^\s*(CREATE|DROP)\s+(?:OR\s+REPLACE\s+)?(TABLE|VIEW|FUNCTION)\s+(?:IF\s+(?:NOT\s+)?EXISTS\s+)?(service_ops\.\w+)/gim

const ALTERED = /^\s*ALTER\s+TABLE\s+(?:IF\s+EXISTS\s+)?(?:ONLY\s+)?(service_ops\.\w+)([^;]*)/gim
const COLUMN = /\b(ADD|DROP)\s+COLUMN\s+(?:IF\s+(?:NOT\s+)?EXISTS\s+)?(\w+)/gi

/** Read from the files themselves, so that no second list can be forgotten: what is made, less what is dropped later. */
export function objectsOf(texts: readonly string[]): SchemaObjects {
  const relations = new Set<string>(['service_ops.migrations'])
  const views = new Set<string>()
  const functions = new Set<string>()
  const columns = new Map<string, string>()
  for (const text of texts) {
    for (const [, verb = '', kind = '', name = ''] of text.matchAll(MADE_OR_DROPPED)) {
      if (kind.toUpperCase() === 'VIEW') views.add(name)
      const set = kind.toUpperCase() === 'FUNCTION' ? functions : relations
      if (verb.toUpperCase() === 'CREATE') set.add(name)
      else set.delete(name)
    }
    for (const [, table = '', actions = ''] of text.matchAll(ALTERED)) {
      for (const [, verb = '', column = ''] of actions.matchAll(COLUMN)) {
        if (verb.toUpperCase() === 'ADD') columns.set(`${table}.${column}`, table)
        else columns.delete(`${table}.${column}`)
      }
    }
  }
  const sorted = [...relations].sort()
  return {
    tables: sorted.filter((name) => !views.has(name)),
    relations: sorted,
    columns: [...columns].flatMap(([column, table]) => (relations.has(table) ? [column] : [])).sort(),
    functions: [...functions].sort(),
  }
}

/** What this release's schema consists of. */
export const SCHEMA_OBJECTS = objectsOf(migrations.map(({ text }) => text))

const CONCURRENT_INDEX = /CREATE\s+(?:UNIQUE\s+)?INDEX\s+CONCURRENTLY\s+IF\s+NOT\s+EXISTS\s+"?(\w+)"?/gi

/** Names of the indexes that the files make CONCURRENTLY: a failed attempt leaves such an index behind, invalid. */
export const CONCURRENT_INDEXES: readonly string[] = migrations.flatMap(({ text }) =>
  [...text.matchAll(CONCURRENT_INDEX)].map((match) => match[1] ?? ''),
)
