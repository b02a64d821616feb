/**
 * The one connection that a test process keeps to its server, on which databases are made and dropped.
 *
 * It holds a session lock under the process's own name, which is part of the name of each of its databases. PostgreSQL frees
 * that lock when the process ends, however it ends and on whichever machine it was; what bears a name whose lock is free is
 * left over, and whoever comes next drops it.
 *
 * Nothing waits for it: a process that has nothing else to do ends, with the connection open.
 */
import { randomBytes } from 'node:crypto'
import { Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { Client } from 'pg'
import type { QueryResult, QueryResultRow } from 'pg'
import { fillIdentifiers } from '../db/statements.ts'
import { quoteIdentifier } from '../db/identifier.ts'
import { errorClass } from '../db/sqlstate.ts'
import { TestDatabaseImpossible } from '../errors.ts'
import { cleanError } from '../telemetry/errorText.ts'
import { sql } from './statements.ts'

/** Of the databases of tests; what follows is the owner's name. */
export const DATABASE_PREFIX = 'tidemark_test_'

const CONNECT_LIMIT_MS = 30_000
const LOCK_LOOK_MS = 20

/** Each copy of this module in a process (a thread, an isolated test file) is an owner. */
const OWNER = randomBytes(6).toString('hex')

export interface AdminSession {
  /** Address of the database that the session is in. */
  readonly url: string
  /** Of this process's databases. */
  readonly prefix: string
  query<R extends QueryResultRow>(text: string, values?: readonly unknown[]): Promise<QueryResult<R>>
  /** Runs a statement with these names of databases in it. */
  define(statement: string, names: Readonly<Record<string, string>>): Promise<void>
  /** Runs `work` while no other process does under the same name. */
  alone<T>(name: string, work: () => Promise<T>): Promise<T>
  /** Whether a lock of this name was free; it is given back at once. */
  isFree(name: string): Promise<boolean>
  /** It broke: another is to be opened. */
  readonly broken: boolean
}

/** @throws {TestDatabaseImpossible} when the server does not let us in */
export async function openAdminSession(url: string): Promise<AdminSession> {
  const socket = new Socket()
  let broken = false
  const client = new Client({
    connectionString: url,
    application_name: 'tidemark:testing',
    connectionTimeoutMillis: CONNECT_LIMIT_MS,
    stream: () => socket,
  })
  client.on('error', () => (broken = true)).on('end', () => (broken = true))
  let asking = 0
  let last: Promise<unknown> = Promise.resolve()
  /** One after another: a client does not queue them any more. */
  function query<R extends QueryResultRow>(
    text: string,
    values: readonly unknown[] = [],
  ): Promise<QueryResult<R>> {
    asking += 1
    socket.ref()
    const answer = last
      .then(() => client.query<R>(text, [...values]))
      .finally(() => {
        asking -= 1
        if (asking === 0) socket.unref()
      })
    last = answer.catch(() => undefined)
    return answer
  }
  const hold = async (name: string): Promise<boolean> =>
    (await query<{ held: boolean }>(sql.hold, [name])).rows[0]?.held === true
  const letGo = async (name: string): Promise<void> => {
    await query(sql.let_go, [name])
  }

  try {
    await client.connect()
    // The backend of one that broke still has it for a moment.
    while (!(await hold(OWNER))) await delay(LOCK_LOOK_MS)
  } catch (cause) {
    await client.end().catch(() => undefined)
    const { text } = cleanError(cause)
    const remedy = 'give `server`, or TIDEMARK_TEST_DATABASE_URL, the direct address of a server that runs'
    throw new TestDatabaseImpossible(`the server does not let us in (${text})`, remedy, { cause })
  }
  return {
    url,
    prefix: `${DATABASE_PREFIX}${OWNER}_`,
    get broken() {
      return broken
    },
    query,
    async define(statement, names) {
      const quoted = Object.entries(names).map(([key, name]) => [key, quoteIdentifier(name)] as const)
      try {
        await query(fillIdentifiers(statement, Object.fromEntries(quoted)))
      } catch (cause) {
        if (errorClass(cause) !== 'permission') throw cause
        const { text } = cleanError(cause)
        const remedy = 'let a superuser run ALTER ROLE … CREATEDB, or give the address of a role that has it'
        throw new TestDatabaseImpossible(`the role may not make databases (${text})`, remedy, { cause })
      }
    },
    async alone(name, work) {
      // Tried and not waited for: a session that waits for a lock holds a snapshot, which an index build would wait for.
      while (!(await hold(name))) await delay(LOCK_LOOK_MS)
      try {
        return await work()
      } finally {
        await letGo(name)
      }
    },
    async isFree(name) {
      if (name === OWNER || !(await hold(name))) return false
      await letGo(name)
      return true
    },
  }
}
