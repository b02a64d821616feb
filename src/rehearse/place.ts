/**
 * Where a rehearsal takes place: a scratch database. Its own, on an embedded server that is removed afterwards; or one that
 * DATABASE_URL names, which must look like scratch: a rehearsal writes rows that an app would act on.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ResolvedPoller } from '../config/resolved.ts'
import { quoteQualified } from '../db/identifier.ts'
import { useEmbedded } from '../db/embedded.ts'
import { sqlPath } from '../db/folder.ts'
import { createPool } from '../db/pool.ts'
import type { Pool, Queryable } from '../db/pool.ts'
import { fillIdentifiers, loadStatements } from '../db/statements.ts'
import { RehearsalImpossible } from '../errors.ts'
import { cleanError } from '../telemetry/errorText.ts'
import { WRITER_CONNECTIONS } from './writer.ts'

const sql = loadStatements('rehearsal_place', [
  'connections',
  'exists',
  'has_inbox',
  'used_inbox',
  'living',
  'has_rows',
])

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

/** Opens the database that was named, or a server of its own. */
export async function openPlace({ url, directUrl }: Address): Promise<Place> {
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
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-rehearsal-'))
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

/** Throws {@link RehearsalImpossible} for a database that somebody may be using. */
export async function requireScratch(db: Queryable, pollers: readonly ResolvedPoller[]): Promise<void> {
  const found = [...(await tidemarkInUse(db, pollers)), ...(await sourcesInUse(db, pollers))]
  if (found.length === 0) return
  throw new RehearsalImpossible(
    `this database does not look like scratch: ${found.join('; ')}`,
    'a rehearsal writes rows that your handlers act on, so give it a database of its own with DATABASE_URL (or none and ' +
      'the tables with --setup FILE.sql); one of an earlier rehearsal is scratch again after DROP SCHEMA service_ops, ' +
      'pgboss, tidemark_rehearsal CASCADE and TRUNCATE of the sources',
  )
}

async function tidemarkInUse(db: Queryable, pollers: readonly ResolvedPoller[]): Promise<string[]> {
  const there = await db.query<{ there: boolean }>(sql.has_inbox)
  if (there.rows[0]?.there !== true) return []
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
