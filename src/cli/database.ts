import type { Client } from 'pg'
import type { Settings } from '../config/settings.ts'
import { addressOf, closeClient, openClient } from '../db/connection.ts'
import { findEmbedded } from '../db/embedded.ts'
import { errorClass, isConnectionError } from '../db/sqlstate.ts'
import type { ErrorClass } from '../db/sqlstate.ts'
import { CommitRolledBack, DatabaseAway, NoDatabase } from '../errors.ts'
import { cleanError } from '../telemetry/errorText.ts'
import { isOurs } from './message.ts'

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

/** What is no fault of a statement: nobody answers there, or lets us in. */
const UNUSABLE: ReadonlySet<ErrorClass> = new Set([
  'connection',
  'authentication',
  'missing_database',
  'too_many_connections',
])

/** What a verb says when the database at its address cannot be used; any other error as it is. */
export function awayFrom(error: unknown, settings: Settings, url: string): unknown {
  if (isOurs(error) || !UNUSABLE.has(errorClass(error))) return error
  const { databaseUrl, directDatabaseUrl } = settings
  const direct = url === directDatabaseUrl && url !== databaseUrl
  const from = databaseUrl === undefined ? undefined : `${direct ? 'DIRECT_' : ''}DATABASE_URL`
  const { class: className, text } = cleanError(error)
  const why = text.includes(className) ? text : `${className}${text === '' ? '' : `: ${text}`}`
  return new DatabaseAway(addressOf(url), from, why, { cause: error })
}

/**
 * Lends the addresses to a verb.
 * @param by the one that it uses first, for what is said when nothing can be used there
 * @throws {NoDatabase} when there is none, {@link DatabaseAway} when there is nothing to use, or what `fn` throws
 */
export async function withAddress<T>(
  settings: Settings,
  fn: (address: DatabaseAddress) => Promise<T>,
  by: keyof DatabaseAddress = 'url',
): Promise<T> {
  const address = await findDatabase(settings)
  try {
    return await fn(address)
  } catch (error) {
    throw awayFrom(error, settings, address[by])
  }
}

/**
 * Lends one connection to a verb and closes it afterwards.
 * @throws as {@link withAddress}
 */
export async function withDatabase<T>(settings: Settings, fn: (client: Client) => Promise<T>): Promise<T> {
  return withAddress(settings, async ({ url }) => {
    const client = await connect(settings, url)
    try {
      return await fn(client)
    } finally {
      await closeClient(client)
    }
  })
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
      const client = known ?? (await withAddress(settings, ({ url }) => connect(settings, url)))
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

function connect(settings: Settings, url: string): Promise<Client> {
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
