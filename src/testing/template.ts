/**
 * Templates: databases that have Tidemark's schema, and the caller's, from which the database of each test is copied.
 *
 * A template is named by what is in it, so that whoever changes the one or the other gets a new one, and processes that want the
 * same share one: the first makes it while the others wait. It is complete when it refuses connections; what does not was left by a
 * process that was killed, and is made anew. A schema that is a function can do anything, so its template is this process's alone,
 * unless its author says by a key what it comes to.
 */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { Client } from 'pg'
import type { QueryResult, QueryResultRow } from 'pg'
import { sqlPath } from '../db/folder.ts'
import { migrate } from '../db/migrate.ts'
import { fillIdentifiers } from '../db/statements.ts'
import { quoteIdentifier } from '../db/identifier.ts'
import { TestDatabaseImpossible } from '../errors.ts'
import { BOSS_SCHEMA_VERSION, migrateBoss } from '../jobs/schema.ts'
import { cleanError } from '../telemetry/errorText.ts'
import { DATABASE_PREFIX } from './adminSession.ts'
import type { AdminSession } from './adminSession.ts'
import { sql } from './statements.ts'

const PREFIX = 'tidemark_template_'

/** Of what nobody has used for so long: branches that are gone. */
const STALE_AFTER = '3 days'

/** A database that is being made, for the caller's own tables. */
export interface NewDatabase {
  /** Its address, for a migration tool. */
  readonly url: string
  /** Runs one statement, or several without values; throws PostgreSQL's error. */
  query<R extends QueryResultRow = QueryResultRow>(
    text: string,
    values?: readonly unknown[],
  ): Promise<QueryResult<R>>
}

/** SQL, or a function that does whatever is to be done. */
export type TestSchema = string | readonly string[] | ((database: NewDatabase) => unknown)

/** Copies may be made of each; by server and content. Functions by themselves. */
const made = new Map<string, Promise<string>>()
const numbers = new WeakMap<object, number>()
let functions = 0

/** The name of a complete template, made when there is none yet. */
export function templateFor(
  session: AdminSession,
  schema: TestSchema | undefined,
  key: string | undefined,
): Promise<string> {
  const content = contentOf(schema, key)
  const known = `${session.url} ${content}`
  const template = made.get(known) ?? make(session, content, schema)
  made.set(known, template)
  // One that failed is tried again by the next test.
  template.catch(() => made.delete(known))
  return template
}

function contentOf(schema: TestSchema | undefined, key: string | undefined): string {
  if (schema === undefined) return 'shared '
  if (key !== undefined) return `shared key ${key}`
  if (typeof schema !== 'function') return `shared ${JSON.stringify(schema)}`
  const number = numbers.get(schema) ?? (functions += 1)
  numbers.set(schema, number)
  return `own ${number}`
}

async function make(session: AdminSession, content: string, schema: TestSchema | undefined): Promise<string> {
  // The bare schema is everybody's; a template with the app's tables is a copy with more in it.
  const bare = schema === undefined ? undefined : await templateFor(session, undefined, undefined)
  const fillWith = (name: string): Promise<void> =>
    bare === undefined || schema === undefined
      ? fill(session, name, 'template0', migrateAll)
      : fill(session, name, bare, (url) => apply(url, schema))

  if (content.startsWith('own ')) {
    const name = `${session.prefix}template_${content.slice('own '.length)}`
    await fillWith(name)
    return name
  }
  const { rows } = await session.query<{ name: string }>(sql.role)
  const name = PREFIX + digest([OURS, rows[0]?.name ?? '', content])
  await session.alone(name, async () => {
    if (await isComplete(session, name)) return
    await session.define(sql.drop, { name })
    await clearStale(session)
    await fillWith(name)
  })
  await markUsed(session, name)
  return name
}

/** As `tidemark migrate` does. */
async function migrateAll(url: string): Promise<void> {
  await migrate({
    url,
    log: { event: () => undefined },
    lockWaitMs: 30_000,
    statementTimeoutMs: 120_000,
    after: async (client) => {
      await migrateBoss(client)
    },
  })
}

async function isComplete(session: AdminSession, name: string): Promise<boolean> {
  const { rows } = await session.query<{ complete: boolean }>(sql.complete, [name])
  return rows[0]?.complete === true
}

/** Makes a database, has it filled, and closes it to everything but copying. */
async function fill(
  session: AdminSession,
  name: string,
  template: string,
  work: (url: string) => Promise<void>,
): Promise<void> {
  await session.define(sql.create, { name, template })
  try {
    await work(withDatabase(session.url, name))
    await session.define(sql.seal, { name })
  } catch (error) {
    await session.define(sql.drop, { name }).catch(() => undefined)
    throw error
  }
}

/** The caller's own tables. */
async function apply(url: string, schema: TestSchema): Promise<void> {
  const client = new Client({ connectionString: url, application_name: 'tidemark:testing' })
  client.on('error', () => undefined)
  try {
    await client.connect()
    if (typeof schema === 'function') {
      await schema({
        url,
        query: (text, values) => client.query(text, values === undefined ? undefined : [...values]),
      })
    } else for (const text of typeof schema === 'string' ? [schema] : schema) await client.query(text)
  } catch (cause) {
    const { text } = cleanError(cause)
    throw new TestDatabaseImpossible(`its schema failed: ${text}`, 'correct `schema`', { cause })
  } finally {
    await client.end().catch(() => undefined)
  }
}

async function markUsed(session: AdminSession, name: string): Promise<void> {
  const used = `'tidemark/testing, used ${new Date().toISOString()}'`
  // Several may say so at once, and one of them is enough.
  await session
    .query(fillIdentifiers(sql.mark_used, { name: quoteIdentifier(name), used }))
    .catch(() => undefined)
}

async function clearStale(session: AdminSession): Promise<void> {
  const { rows } = await session.query<{ name: string }>(sql.stale, [PREFIX, STALE_AFTER])
  for (const { name } of rows) await session.define(sql.drop, { name }).catch(() => undefined)
}

/** Databases of processes that are gone are dropped. */
export async function dropLeftovers(session: AdminSession): Promise<void> {
  const { rows } = await session.query<{ name: string }>(sql.leftovers, [DATABASE_PREFIX])
  const owners = new Map<string, string[]>()
  for (const { name } of rows) {
    const owner = name.slice(DATABASE_PREFIX.length).split('_')[0] ?? ''
    owners.set(owner, [...(owners.get(owner) ?? []), name])
  }
  for (const [owner, names] of owners) {
    if (!(await session.isFree(owner))) continue
    for (const name of names) await session.define(sql.drop, { name }).catch(() => undefined)
  }
}

/** What this release's schema comes to. */
const OURS = digest([
  ...['migrations', 'verify'].flatMap((folder) =>
    readdirSync(sqlPath(folder))
      .sort()
      .flatMap((file) => [file, readFileSync(sqlPath(`${folder}/${file}`), 'utf8')]),
  ),
  String(BOSS_SCHEMA_VERSION),
])

function digest(texts: readonly string[]): string {
  return createHash('sha256').update(JSON.stringify(texts)).digest('hex').slice(0, 16)
}

export function withDatabase(url: string, name: string): string {
  const address = new URL(url)
  address.pathname = `/${name}`
  return address.href
}
