import { Socket } from 'node:net'
import { DatabaseError, Pool as PgPool } from 'pg'
import type { PoolClient, QueryConfig, QueryResult, QueryResultRow } from 'pg'
import { connectionConfig } from './connection.ts'
import type { ConnectionOptions } from './connection.ts'
import { catalogFirst } from './session.ts'

export type { PoolClient } from 'pg'

/** The least that a statement needs: a pool or a client. */
export interface Queryable {
  query<R extends QueryResultRow = QueryResultRow>(
    text: string,
    values?: readonly unknown[],
  ): Promise<QueryResult<R>>
}

/** What runs statements that are made over and over, and take longer to plan than to do. */
export interface Preparing {
  /** One autocommit statement, planned once on each connection whose session is ours. `name` is that text's alone. */
  prepared<R extends QueryResultRow = QueryResultRow>(
    name: string,
    text: string,
    values: readonly unknown[],
  ): Promise<QueryResult<R>>
}

/** A pool, or the client of a transaction, which plans its statements each time. */
export type MayPrepare = Queryable & Partial<Preparing>

/** Planned once where that can be. */
export function runPrepared<R extends QueryResultRow>(
  db: MayPrepare,
  name: string,
  text: string,
  values: readonly unknown[],
): Promise<QueryResult<R>> {
  return db.prepared === undefined ? db.query<R>(text, values) : db.prepared<R>(name, text, values)
}

/** A lent connection, for statements that have one plan whatever is in the tables: it is kept as long as the connection is. */
export function preparing(client: PoolClient, ownSession: boolean): MayPrepare {
  if (!ownSession) return client
  return {
    query: (text, values) => client.query(text, values === undefined ? undefined : [...values]),
    prepared: (name, text, values) => client.query({ name, text, values: [...values] }),
  }
}

export interface PoolOptions extends ConnectionOptions {
  /** Connections at most. */
  readonly max: number
  /** False behind a transaction pooler: what is set on a session there would meet a stranger. Default: true. */
  readonly ownSession?: boolean
  /** Connections are kept however long they are idle, and however old: there may be no other to be had. Default: false. */
  readonly keep?: boolean
  /** Told of a connection that broke, idle or in use; the pool replaces it by itself. */
  readonly onConnectionError?: (error: Error) => void
  /** Told of every single statement that is asked for; what it returns is told how that ended: whether there was an answer. */
  readonly onAsk?: () => (answered: boolean) => void
  /** Told of every single statement that failed; those of lent connections are their borrower's to tell. */
  readonly onStatementError?: (error: unknown) => void
}

/** Connections made, those waiting for work, and callers waiting for one. */
export interface PoolCounts {
  readonly total: number
  readonly idle: number
  readonly waiting: number
}

/**
 * A bounded set of connections. `query` is for single autocommit statements; transactions go through
 * `withTransaction`, which never gives a connection in doubt back.
 */
export interface Pool extends Queryable, Preparing {
  readonly max: number
  /** False behind a transaction pooler: what is set on a session there would meet a stranger. Default: true. */
  readonly ownSession?: boolean
  readonly counts: PoolCounts
  /**
   * Lends a connection, which has an error listener for life. The borrower gives it back with `release()`, or with
   * `release(true)` after anything that leaves its state in doubt. Rejects after the connect timeout.
   */
  connect(): Promise<PoolClient>
  /**
   * Breaks every connection, also those that are lent out or still being made: what waits on them fails at once. For a
   * database that vanished without a word, where it would wait up to the statement limit, or for ever.
   */
  reset(): void
  /** Every connection plans its prepared statements anew when it needs them next: for the tables as they are then. */
  replan(): void
  /** Refuses new work, waits for what is lent out, closes everything. May be called again. */
  end(): Promise<void>
}

/** An idle connection is closed after this long. node-postgres' 10 s would reconnect between the ticks of a quiet day. */
const IDLE_MS = 60_000

/** Proxies of managed databases cut connections after 10 minutes when they restart: leave before they do. */
const MAX_LIFETIME_S = 600

/** Opens no connection yet; the first statement does. */
export function createPool(options: PoolOptions): Pool {
  const sockets = new Set<Socket>()
  const pool = new PgPool({
    ...connectionConfig(options),
    // Our own sockets, since pg lends no way to one that is still connecting.
    stream: () => {
      const socket = new Socket()
      sockets.add(socket)
      return socket.once('close', () => sockets.delete(socket))
    },
    max: options.max,
    ...(options.keep === true
      ? { idleTimeoutMillis: 0, maxLifetimeSeconds: 0 }
      : { idleTimeoutMillis: IDLE_MS, maxLifetimeSeconds: MAX_LIFETIME_S }),
    // The pool waits for the promise, which its types do not say. A failure is the connection's: the borrower's own
    // statement will meet it, while a rejection here would make the pool wait for the goodbye of a dead peer.
    // eslint-disable-next-line @typescript-eslint/no-misused-promises
    onConnect: (client) =>
      options.ownSession === false ? undefined : catalogFirst(client).catch(() => undefined),
  })
  // Without a listener an error event ends the process. The pool drops an idle connection by itself and then says so
  // here; the one on each client hears of the same error, and of those in use, which the pool's never does.
  pool.on('error', () => undefined)
  pool.on('connect', (client) => {
    client.on('error', (error) => options.onConnectionError?.(error))
  })
  let ended: Promise<void> | undefined
  let generation = 0
  const planned = new WeakMap<PoolClient, number>()

  /** Before a prepared statement, on the connection that is to run it. */
  async function plan(client: PoolClient): Promise<void> {
    if ((planned.get(client) ?? generation) !== generation) await client.query('DISCARD PLANS')
    planned.set(client, generation)
  }

  async function query<R extends QueryResultRow>(statement: QueryConfig): Promise<QueryResult<R>> {
    const over = options.onAsk?.()
    try {
      const result = await queryOnce<R>(pool, statement, plan)
      over?.(true)
      return result
    } catch (error) {
      over?.(false)
      options.onStatementError?.(error)
      throw error
    }
  }

  return {
    max: options.max,
    ownSession: options.ownSession !== false,
    get counts() {
      return { total: pool.totalCount, idle: pool.idleCount, waiting: pool.waitingCount }
    },
    connect: () => pool.connect(),
    reset() {
      for (const socket of sockets) socket.destroy(new Error('Connection terminated: the database is silent'))
    },
    end: () => (ended ??= pool.end()),
    query: <R extends QueryResultRow>(text: string, values: readonly unknown[] = []) =>
      query<R>({ text, values: [...values] }),
    prepared: <R extends QueryResultRow>(name: string, text: string, values: readonly unknown[]) =>
      query<R>({ text, values: [...values], ...(options.ownSession === false ? {} : { name }) }),
    replan: () => void (generation += 1),
  }
}

async function queryOnce<R extends QueryResultRow>(
  pool: PgPool,
  statement: QueryConfig,
  plan: (client: PoolClient) => Promise<void>,
): Promise<QueryResult<R>> {
  const client = await pool.connect()
  let result: QueryResult<R>
  try {
    if (statement.name !== undefined) await plan(client)
    result = await client.query<R>(statement)
  } catch (error) {
    client.release(!refusedCleanly(error, statement.values ?? []))
    throw error
  }
  // A text that opened a transaction must not hand it to the next borrower.
  client.release(client.getTransactionStatus() !== 'I')
  return result
}

/**
 * A prepared statement is not there any more (somebody said DEALLOCATE or DISCARD), or its result is of another type now. The
 * connection believes that it is prepared, and would fail again and again.
 */
const FORGOTTEN: ReadonlySet<string> = new Set(['26000', '0A000'])

/**
 * Whether the server refused one statement and the connection is as good as before. Without parameters the text may
 * have held several statements, a BEGIN among them; after a timeout of ours or a broken socket nothing is known.
 */
function refusedCleanly(error: unknown, values: readonly unknown[]): boolean {
  return (
    error instanceof DatabaseError &&
    error.severity === 'ERROR' &&
    values.length > 0 &&
    !FORGOTTEN.has(error.code ?? '')
  )
}
