import type { Db } from 'pg-boss'
import { CommitRolledBack } from '../errors.ts'
import type { Pool, PoolClient } from '../db/pool.ts'
import { planned } from './planned.ts'

/** LISTEN on a connection of its own; `onReconnect` is called after each successful (re)subscription. */
export type Listen = NonNullable<Db['listen']>
type Transaction = Awaited<ReturnType<NonNullable<Db['beginTransaction']>>>

/** The adapter, with what this program relies on itself. */
export type BossDatabase = Db & Required<Pick<Db, 'beginTransaction'>>

/** How long a ROLLBACK may take before the connection is dropped instead, in ms: it can only be stuck. */
const ROLLBACK_LIMIT_MS = 5_000

/**
 * pg-boss on our work pool. Without `listen`, `beginTransaction`, `setSessionStatements` and `poolCounts` a
 * custom database silently loses NOTIFY, transactional workers, the test clock and the pool's numbers.
 *
 * pg-boss sends whole scripts (`BEGIN; …; COMMIT`) as one statement, so any statement that fails may leave a
 * transaction open: its connection is destroyed, never given back.
 *
 * Its stop fails what it still has, a job without retries for good: also one whose fetch is answered only when the time of the
 * stop is over, which no handler of ours ever sees. That is not done: such a job stays active, nobody has claimed it, and the
 * look of another instance (dueLook.ts) gives it back.
 */
export function createBossDatabase(pool: Pool, listen?: Listen): BossDatabase {
  let sessionStatements: readonly string[] = []
  // Which set of session statements a connection has run; every new set is a new array.
  const prepared = new WeakMap<PoolClient, readonly string[]>()

  async function checkout(): Promise<PoolClient> {
    const client = await pool.connect()
    const statements = sessionStatements
    if (statements.length === 0 || prepared.get(client) === statements) return client
    try {
      for (const statement of statements) await client.query(statement)
      prepared.set(client, statements)
      return client
    } catch (error) {
      client.release(true)
      throw error
    }
  }

  const database: BossDatabase = {
    async executeSql(text, values) {
      if (failsForStop(values)) return NONE_FAILED
      // Statements of the session are a test's clock, which only connections that were checked out here have.
      const answer = sessionStatements.length === 0 ? planned(pool, text, values) : undefined
      if (answer !== undefined) return answer
      const client = await checkout()
      try {
        const result = await client.query<Record<string, unknown>>(text, values)
        client.release(client.getTransactionStatus() !== 'I')
        return result
      } catch (error) {
        client.release(true)
        throw error
      }
    },

    async beginTransaction() {
      const client = await checkout()
      try {
        await client.query('BEGIN')
        return transaction(client)
      } catch (error) {
        client.release(true)
        throw error
      }
    },

    setSessionStatements(statements) {
      sessionStatements = [...statements]
      return Promise.resolve()
    },

    poolCounts: () => ({ max: pool.max, ...pool.counts }),
  }
  return listen === undefined ? database : { ...database, listen }
}

/** By what pg-boss tells such a failure; its version is pinned, and a test meets it. */
const STOP_TEXT = 'pg-boss shut down before the handler started'
/** As pg-boss reads it: none was failed. */
const NONE_FAILED = { rows: [{ count: '0' }] }

/** The third value of a failure is what was thrown. */
function failsForStop(values: readonly unknown[] = []): boolean {
  const thrown = values[2]
  return typeof thrown === 'object' && thrown !== null && 'message' in thrown && thrown.message === STOP_TEXT
}

function transaction(client: PoolClient): Transaction {
  let settled = false
  const settle = (destroy: boolean): void => {
    if (settled) return
    settled = true
    client.release(destroy)
  }
  const late = (): Error => new Error('the transaction is already settled')
  return {
    db: {
      // A statement sent late by a handler that outlived its time must not reach the next borrower's session.
      executeSql: (text, values) =>
        settled ? Promise.reject(late()) : client.query<Record<string, unknown>>(text, values),
    },
    async commit() {
      if (settled) throw late()
      try {
        const { command } = await client.query('COMMIT')
        if (command !== 'COMMIT') throw new CommitRolledBack()
        settle(false)
      } catch (error) {
        settle(true)
        throw error
      }
    },
    async rollback() {
      if (settled) return
      let timer: NodeJS.Timeout | undefined
      const limit = new Promise<boolean>((resolve) => {
        timer = setTimeout(resolve, ROLLBACK_LIMIT_MS, false)
      })
      const rolledBack = await Promise.race([
        client.query('ROLLBACK').then(
          () => true,
          () => false,
        ),
        limit,
      ])
      clearTimeout(timer)
      settle(!rolledBack)
    },
  }
}
