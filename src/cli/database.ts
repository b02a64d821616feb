import type { Client } from 'pg'
import type { Settings } from '../config/settings.ts'
import { closeClient, openClient } from '../db/connection.ts'
import { findEmbedded } from '../db/embedded.ts'
import { isConnectionError } from '../db/sqlstate.ts'
import { CommitRolledBack, NoDatabase } from '../errors.ts'

const APPLICATION_NAME = 'tidemark:cli'

/** Addresses of the database that a verb works on. */
export interface DatabaseAddress {
  readonly url: string
  /** For session features. */
  readonly directUrl: string
}

/**
 * DATABASE_URL, or the embedded server that runs on TIDEMARK_DATA_DIR; starts nothing.
 * @throws {NoDatabase} when there is neither
 */
export async function findDatabase(settings: Settings): Promise<DatabaseAddress> {
  const { databaseUrl, directDatabaseUrl, dataDir } = settings
  if (databaseUrl !== undefined) return { url: databaseUrl, directUrl: directDatabaseUrl ?? databaseUrl }
  const embedded = await findEmbedded(dataDir)
  if (embedded === undefined) throw new NoDatabase(dataDir)
  return { url: embedded, directUrl: embedded }
}

/**
 * Lends one connection to a verb and closes it afterwards.
 * @throws {NoDatabase} when there is no database to connect to, or the connection's own error
 */
export async function withDatabase<T>(settings: Settings, fn: (client: Client) => Promise<T>): Promise<T> {
  const client = await connect(settings)
  try {
    return await fn(client)
  } finally {
    await closeClient(client)
  }
}

/** One connection that is lent again and again; after a failure it is another one. */
export interface KeptDatabase {
  /** @throws what `fn` or the connection throws */
  use<T>(fn: (client: Client) => Promise<T>): Promise<T>
}

/** Connects when it is first used. For a verb that looks for as long as it runs, and ends with its process. */
export function keepDatabase(settings: Settings): KeptDatabase {
  let kept: Client | undefined
  return {
    async use(fn) {
      const known = kept
      kept = undefined
      const client = known ?? (await connect(settings))
      try {
        const value = await fn(client)
        kept = client
        return value
      } catch (error) {
        void closeClient(client).catch(() => undefined)
        // It may have broken long ago, when nobody asked anything.
        if (known !== undefined && isConnectionError(error)) return await this.use(fn)
        throw error
      }
    },
  }
}

async function connect(settings: Settings): Promise<Client> {
  const { url } = await findDatabase(settings)
  return openClient({
    url,
    applicationName: APPLICATION_NAME,
    connectTimeoutMs: settings.connectTimeoutMs,
    // The address may be a pooler's, which refuses startup options; `readOnly` sets the limits per transaction.
    startupOptions: false,
    limits: { statementTimeoutMs: 0, lockTimeoutMs: 0, idleInTransactionMs: 0 },
  })
}

/**
 * Runs `fn` in a read-only transaction with the statement and lock limits of the settings, and rolls it back: nothing
 * that it does can stay. (The settings come first because they take the snapshot, after which PostgreSQL refuses to
 * make the transaction writable again.)
 */
export async function readOnly<T>(client: Client, settings: Settings, fn: () => Promise<T>): Promise<T> {
  await client.query('BEGIN READ ONLY')
  try {
    await setLimits(client, settings)
    return await fn()
  } finally {
    // The connection may be what failed; what `fn` threw is the error worth showing.
    await client.query('ROLLBACK').catch(() => undefined)
  }
}

/**
 * Runs `fn` in a transaction of its own with the limits of the settings, and commits it. Whatever the role's defaults
 * are, it may write and reads what is committed.
 * @throws what `fn` throws, or {@link CommitRolledBack}; then nothing was written
 */
export async function readWrite<T>(client: Client, settings: Settings, fn: () => Promise<T>): Promise<T> {
  await client.query('BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE')
  try {
    await setLimits(client, settings)
    const value = await fn()
    const { command } = await client.query('COMMIT')
    if (command !== 'COMMIT') throw new CommitRolledBack()
    return value
  } catch (error) {
    await client.query('ROLLBACK').catch(() => undefined)
    throw error
  }
}

async function setLimits(client: Client, settings: Settings): Promise<void> {
  await client.query(
    "SELECT set_config('statement_timeout', $1, true), set_config('lock_timeout', $2, true)",
    [String(settings.statementTimeoutMs), String(settings.lockTimeoutMs)],
  )
}
