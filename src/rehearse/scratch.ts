/**
 * Whether a database that DATABASE_URL names may be rehearsed on, and what a rehearsal leaves there. To drop the schemas is
 * advised only where nobody but rehearsals ever was: `service_ops` of an app is its inbox.
 */
import type { ResolvedPoller } from '../config/resolved.ts'
import type { Queryable } from '../db/pool.ts'
import { quoteQualified } from '../db/identifier.ts'
import { fillIdentifiers, loadStatements } from '../db/statements.ts'
import { RehearsalImpossible } from '../errors.ts'

const sql = loadStatements('rehearsal_scratch', [
  'exists',
  'has_inbox',
  'used_inbox',
  'living',
  'strangers',
  'has_rows',
  'foreign_tables',
  'schemas',
])

/** Our own; the last is a rehearsal's alone. */
const SCHEMAS = ['service_ops', 'pgboss', 'tidemark_rehearsal'] as const
const DROP = `DROP SCHEMA ${SCHEMAS.join(', ')} CASCADE`

const WHY = 'a rehearsal writes rows that your handlers act on'
const ANOTHER =
  'give it a database of its own with DATABASE_URL (or none and the tables with --setup FILE.sql)'

/** Throws {@link RehearsalImpossible} for a database that somebody may be using. */
export async function requireScratch(db: Queryable, pollers: readonly ResolvedPoller[]): Promise<void> {
  const found = [...(await tidemarkInUse(db, pollers)), ...(await sourcesInUse(db, pollers))]
  if (found.length === 0) return
  const again = (await onlyRehearsed(db))
    ? `; one of an earlier rehearsal is scratch again after ${DROP} and TRUNCATE of the sources`
    : ''
  throw new RehearsalImpossible(
    `this database does not look like scratch: ${found.join('; ')}`,
    `${WHY}, so ${ANOTHER}${again}`,
  )
}

/** The demo brings all its tables, so any other belongs to somebody. Throws {@link RehearsalImpossible} where one is. */
export async function requireNoTables(db: Queryable): Promise<void> {
  const { rows } = await db.query<{ name: string }>(sql.foreign_tables, [SCHEMAS])
  const [first] = rows
  if (first === undefined) return
  throw new RehearsalImpossible(
    `there is no config file, and the database of DATABASE_URL has tables of somebody's, such as ${first.name}, ` +
      'so the demo is not rehearsed there',
    'unset DATABASE_URL, which gives it a PostgreSQL of its own, or name a scratch database',
  )
}

/** What is left in a database that is not removed, in words; undefined: nothing. */
export async function leftIn(db: Queryable, pollers: readonly ResolvedPoller[]): Promise<string | undefined> {
  const { rows } = await db.query<{ name: string }>(sql.schemas, [SCHEMAS])
  const schemas = rows.map(({ name }) => name)
  if (!schemas.includes('tidemark_rehearsal')) return undefined
  // What is in our schemas goes with them.
  const sources = pollers
    .map(({ source }) => quoteQualified(source.table))
    .filter((table) => !table.startsWith('"service_ops".'))
  const rowsOf = sources.length === 0 ? '' : `, and rows in ${[...new Set(sources)].join(', ')}`
  const clear = (await onlyRehearsed(db)) ? `; ${DROP} removes the schemas` : ''
  return `Left in the database of DATABASE_URL: ${schemas.length === 1 ? 'schema' : 'schemas'} ${schemas.join(', ')}${rowsOf}${clear}`
}

/** Whether a rehearsal has been here, and no instance but those of rehearsals. */
async function onlyRehearsed(db: Queryable): Promise<boolean> {
  const { rows } = await db.query<{ name: string }>(sql.schemas, [SCHEMAS])
  if (!rows.some(({ name }) => name === 'tidemark_rehearsal')) return false
  if (!(await hasInbox(db))) return false
  return (await db.query(sql.strangers)).rows.length === 0
}

async function hasInbox(db: Queryable): Promise<boolean> {
  return (await db.query<{ there: boolean }>(sql.has_inbox)).rows[0]?.there === true
}

async function tidemarkInUse(db: Queryable, pollers: readonly ResolvedPoller[]): Promise<string[]> {
  if (!(await hasInbox(db))) return []
  const living = await db.query<{ instance_id: string }>(sql.living)
  const names = pollers.map(({ name }) => name)
  const used = await db.query<{ source: string }>(sql.used_inbox, [names])
  return [
    ...living.rows.map(({ instance_id: id }) => `the instance ${id} runs on it`),
    ...used.rows.map(({ source }) => `the inbox has messages of ${source}`),
  ]
}

async function sourcesInUse(db: Queryable, pollers: readonly ResolvedPoller[]): Promise<string[]> {
  const found: string[] = []
  for (const table of new Set(pollers.map(({ source }) => quoteQualified(source.table)))) {
    // One that is not there is told of when a row for it is tried.
    const there = await db.query<{ there: boolean }>(sql.exists, [table])
    if (there.rows[0]?.there !== true) continue
    const { rows } = await db.query<{ used: boolean }>(fillIdentifiers(sql.has_rows, { table }))
    if (rows[0]?.used === true) found.push(`${table} has rows`)
  }
  return found
}
