import { CommitRolledBack } from '../errors.ts'
import type { Pool, PoolClient } from './pool.ts'

/**
 * Transactions that leave nothing behind.
 *
 * The connection goes back to the pool only after a COMMIT that the server answered with COMMIT. Everything else, an
 * error of a statement, of the callback, of the socket, a timeout of ours, destroys it: a ROLLBACK after a client-side
 * timeout can be queued behind the statement that hangs, and a connection given back in that state carries an open
 * transaction in which the next borrower's writes vanish (measured with node-postgres 8). A new connection costs a few
 * milliseconds, and errors are rare.
 *
 * COMMIT of a transaction in which a statement failed is not an error: the server answers with the tag ROLLBACK. When
 * the callback swallowed that error, only the tag tells.
 */

export type Isolation = 'read committed' | 'repeatable read' | 'serializable'

/** What runs a transaction: not the number that a pooler gives its clients. */
export interface Backend {
  readonly pid: number
  /** When the transaction began, in seconds of the epoch: the backend may run another one later. */
  readonly since: string
}

export interface TransactionOptions {
  /** Default: what the session has, read committed. */
  readonly isolation?: Isolation
  /** Settings for this transaction alone, as `SET LOCAL` would make them. */
  readonly local?: Readonly<Record<string, string>>
  /** When aborted, the connection is destroyed at once and the call rejects with the signal's reason. */
  readonly signal?: AbortSignal
  /** Asked after the commit: true when the session must not serve anybody else (its settings were changed). */
  readonly retire?: () => boolean
}

const BEGIN: Readonly<Record<Isolation, string>> = {
  'read committed': 'BEGIN ISOLATION LEVEL READ COMMITTED',
  'repeatable read': 'BEGIN ISOLATION LEVEL REPEATABLE READ',
  serializable: 'BEGIN ISOLATION LEVEL SERIALIZABLE',
}

/**
 * Runs `fn` inside one transaction and commits. Throws what `fn` throws, what the database says, or
 * {@link CommitRolledBack}; after any of them nothing was written, except when the connection broke during COMMIT
 * itself, whose outcome nobody can know.
 */
export async function withTransaction<T>(
  pool: Pool,
  fn: (client: PoolClient) => Promise<T>,
  options: TransactionOptions = {},
): Promise<T> {
  return lend(
    pool,
    options.signal,
    async (client) => {
      await client.query(options.isolation === undefined ? 'BEGIN' : BEGIN[options.isolation])
      await setLocal(client, options)
      const value = await fn(client)
      // ROLLBACK or COMMIT inside: what follows would not be one transaction with what went before.
      if (client.getTransactionStatus() === 'I')
        throw new CommitRolledBack('it was ended inside, by COMMIT or ROLLBACK')
      const { command } = await client.query('COMMIT')
      if (command !== 'COMMIT') throw new CommitRolledBack()
      return value
    },
    options.retire,
  )
}

/** Lends one connection for several statements of its own; it goes back only when no transaction is open on it. */
export async function withClient<T>(pool: Pool, fn: (client: PoolClient) => Promise<T>): Promise<T> {
  return lend(pool, undefined, fn)
}

async function setLocal(
  client: PoolClient,
  { local = {} }: Pick<TransactionOptions, 'local'>,
): Promise<void> {
  const entries = Object.entries(local)
  if (entries.length === 0) return
  // SET LOCAL takes no parameters; set_config(name, value, is_local) does.
  const calls = entries.map((_, i) => `set_config($${2 * i + 1}, $${2 * i + 2}, true)`)
  await client.query(`SELECT ${calls.join(', ')}`, entries.flat())
}

async function lend<T>(
  pool: Pool,
  signal: AbortSignal | undefined,
  fn: (client: PoolClient) => Promise<T>,
  retire?: () => boolean,
): Promise<T> {
  signal?.throwIfAborted()
  const client = await pool.connect()
  let lent = true
  const giveBack = (destroy: boolean): void => {
    if (!lent) return
    lent = false
    client.release(destroy)
  }
  const aborted = Promise.withResolvers<never>()
  // A rejection that nobody waits for would end the process: fn may be done before the abort comes.
  aborted.promise.catch(() => undefined)
  const abort = (): void => {
    giveBack(true)
    aborted.reject(signal?.reason)
  }
  signal?.addEventListener('abort', abort, { once: true })
  try {
    // An abort that came while we waited for the connection fired no event here.
    signal?.throwIfAborted()
    const value = await Promise.race([fn(client), aborted.promise])
    giveBack(client.getTransactionStatus() !== 'I' || retire?.() === true)
    return value
  } catch (error) {
    giveBack(true)
    throw error
  } finally {
    signal?.removeEventListener('abort', abort)
  }
}
