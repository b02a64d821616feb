/**
 * Where a rehearsal takes place: a scratch database. Its own, on an embedded server that is removed afterwards; or one that
 * DATABASE_URL names, which must look like scratch: a rehearsal writes rows that an app would act on.
 */
import { readFileSync, rmSync } from 'node:fs'
import { useEmbedded } from '../db/embedded.ts'
import { sqlPath } from '../db/folder.ts'
import { createPool } from '../db/pool.ts'
import type { Pool, Queryable } from '../db/pool.ts'
import { loadStatements } from '../db/statements.ts'
import { waitForDatabase } from '../db/wait.ts'
import { RehearsalImpossible } from '../errors.ts'
import { cleanError } from '../telemetry/errorText.ts'
import { serverFolder } from './abandoned.ts'
import { WRITER_CONNECTIONS } from './writer.ts'

const sql = loadStatements('rehearsal_place', ['connections'])

export interface Place {
  readonly url: string
  /** Undefined: the same. */
  readonly directUrl: string | undefined
  /** A server of its own, made for this rehearsal. */
  readonly own: boolean
  /** For looking and counting. */
  readonly pool: Pool
  readonly writers: Pool
  /** Closes connections; removes the server when it is its own. */
  leave(): Promise<void>
}

export interface Address {
  readonly url: string | undefined
  readonly directUrl: string | undefined
}

const LOOK_CONNECTIONS = 4

/** A database that does not answer by then is not there. */
const ANSWER_LIMIT_MS = 10_000
const SILENT = { event: () => undefined }

/** Opens the database that was named, or a server of its own. */
export async function openPlace({ url, directUrl }: Address): Promise<Place> {
  // Told of as `start` tells of it: which variable, which address.
  if (url !== undefined) await waitForDatabase(url, { attempts: 1, timeoutMs: ANSWER_LIMIT_MS, log: SILENT })
  const server = url === undefined ? await ownServer() : undefined
  const address = server?.url ?? url ?? ''
  const open = (applicationName: string, max: number): Pool =>
    createPool({
      url: address,
      applicationName,
      connectTimeoutMs: 30_000,
      // A late transaction is idle on purpose, a count may take its time, and a pooler refuses limits at the start.
      limits: { statementTimeoutMs: 0, lockTimeoutMs: 0, idleInTransactionMs: 0 },
      startupOptions: false,
      max,
    })
  const pool = open('tidemark-rehearsal', LOOK_CONNECTIONS)
  const writers = open('tidemark-rehearsal:writer', WRITER_CONNECTIONS)
  return {
    url: address,
    directUrl: server === undefined ? directUrl : undefined,
    own: server !== undefined,
    pool,
    writers,
    async leave() {
      await Promise.all([pool.end(), writers.end()])
      await server?.remove()
    },
  }
}

async function ownServer(): Promise<{ url: string; remove(): Promise<void> }> {
  const folder = serverFolder()
  const drop = (): void => rmSync(folder, { recursive: true, force: true })
  try {
    const server = await useEmbedded(folder)
    return { url: server.url, remove: () => server.leave().finally(drop) }
  } catch (error) {
    drop()
    throw error
  }
}

/** The app's tables, from its own files: each is sent as one message, so it is one transaction unless it says otherwise. */
export async function setUpTables(db: Queryable, files: readonly string[]): Promise<void> {
  for (const file of files) {
    try {
      await db.query(readFileSync(file, 'utf8'))
    } catch (cause) {
      const remedy = "it must make the app's tables on an empty database"
      throw new RehearsalImpossible(`--setup ${file} failed: ${cleanError(cause).text}`, remedy, { cause })
    }
  }
}

/** Makes the record of a rehearsal, in a schema of its own. */
export async function makeRecord(db: Queryable): Promise<void> {
  await db.query(readFileSync(sqlPath('rehearse/1_tables.sql'), 'utf8'))
}

/** What the server lacks when so many connections are wanted; undefined: nothing. */
export async function connectionsShort(db: Queryable, wanted: number): Promise<string | undefined> {
  const { rows } = await db.query<{ free: number }>(sql.connections)
  const free = rows[0]?.free ?? 0
  const needed = wanted + LOOK_CONNECTIONS + WRITER_CONNECTIONS
  if (free >= needed) return undefined
  return (
    `the server has ${free} connections left, and this rehearsal may want ${needed}: ` +
    'raise max_connections, or lower --instances or DB_POOL_MAX'
  )
}
