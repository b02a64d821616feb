/**
 * What stands between us and PostgreSQL, and whether the database behind it can keep what we are given.
 *
 * A pooler hands each client a number of its own in place of the backend's, so the two differ behind any of them. One in
 * *transaction* mode lends its connections from transaction to transaction: what one client's statement ran on serves
 * another's BEGIN while the first is still connected. One in *session* mode never does that.
 *
 * - *session*: everything works but limits at startup, which poolers refuse.
 * - *transaction*: also nothing may stay on a session. A lock that shows that we live would outlive us in the pooler's
 *   connection, LISTEN would be heard by somebody else, and a setting would meet a stranger's transaction.
 */
import { EncodingUnfit, PoolerUnfit } from '../errors.ts'
import { closeClient, openClient } from './connection.ts'
import type { Client } from 'pg'
import { requireServerVersion } from './serverVersion.ts'
import { loadStatements } from './statements.ts'

const sql = loadStatements('pooler', ['backend', 'server', 'limits'])

export type Pooling = 'none' | 'session' | 'transaction'

export interface PoolingOptions {
  readonly connectTimeoutMs: number
  /** Default: `tidemark:look`. */
  readonly applicationName?: string
}

/** A busy pool may lend the second client another connection; again and again it does not. */
const TRIES = 5

/**
 * Looks at one address, over two connections of its own. Throws {@link PoolerUnfit} in statement mode,
 * {@link EncodingUnfit} for a database that is not UTF8, and ServerTooOld.
 */
export async function findPooling(url: string, options: PoolingOptions): Promise<Pooling> {
  const one = await open(url, options)
  try {
    await requireFit(one)
    if (ownPid(one) === (await backend(one))) return 'none'
    const other = await open(url, options)
    try {
      for (let i = 0; i < TRIES; i += 1) if (await lends(one, other)) return 'transaction'
      return 'session'
    } finally {
      await closeClient(other)
    }
  } finally {
    await closeClient(one)
  }
}

/**
 * Behind a pooler the role's own settings hold. Which isolation is not for our proofs, and which limits are missing?
 * Throws {@link PoolerUnfit} for the first; returns the names of the others.
 */
export async function unlimited(url: string, options: PoolingOptions): Promise<readonly string[]> {
  const client = await open(url, options)
  try {
    const { rows } = await client.query<{ role: string; isolation: string; missing: string[] }>(sql.limits)
    const [found] = rows
    if (found === undefined || found.isolation === 'read committed') return found?.missing ?? []
    throw new PoolerUnfit(
      `the role ${found.role} has the isolation ${found.isolation}, and a pooler lets no session have another. ` +
        `Remedy: ALTER ROLE ${found.role} SET default_transaction_isolation = 'read committed'`,
    )
  } finally {
    await closeClient(client)
  }
}

async function lends(one: Client, other: Client): Promise<boolean> {
  const before = await backend(one)
  try {
    await other.query('BEGIN')
  } catch (error) {
    throw new PoolerUnfit(
      'the pooler runs in statement mode, in which there are no transactions. Remedy: pool_mode = transaction, or a direct address',
      { cause: error },
    )
  }
  const lent = await backend(other)
  const after = await backend(one)
  await other.query('ROLLBACK')
  return lent === before || after !== before
}

interface ServerRow {
  readonly database: string
  readonly encoding: string
  readonly version: string
  readonly version_number: number
}

/**
 * Before anything is made there: an old server would fail at the first statement that it does not know, another encoding
 * at the first letter that it lacks, in whatever text has it.
 */
async function requireFit(client: Client): Promise<void> {
  const [found] = (await client.query<ServerRow>(sql.server)).rows
  if (found === undefined) return
  requireServerVersion(found.version, found.version_number)
  if (found.encoding !== 'UTF8') throw new EncodingUnfit(found.database, found.encoding)
}

async function open(
  url: string,
  { connectTimeoutMs, applicationName = 'tidemark:look' }: PoolingOptions,
): Promise<Client> {
  return openClient({
    url,
    applicationName,
    connectTimeoutMs,
    limits: { statementTimeoutMs: connectTimeoutMs, lockTimeoutMs: 0, idleInTransactionMs: 0 },
    startupOptions: false,
  })
}

async function backend(client: Client): Promise<number | undefined> {
  return (await client.query<{ pid: number }>(sql.backend)).rows[0]?.pid
}

/** The number that came with the connection, for cancelling; the types do not know it. */
function ownPid(client: Client): unknown {
  return Reflect.get(client, 'processID')
}
