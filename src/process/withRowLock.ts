import type { ClientBase, QueryResultRow } from 'pg'
import { quoteIdentifier, quoteQualified } from '../db/identifier.ts'

export interface RowLockOptions {
  /** `schema.table`. */
  readonly table: string
  /** Columns that name the row, with their values. */
  readonly key: Readonly<Record<string, unknown>>
}

/**
 * Runs `fn` while the row is locked (`FOR UPDATE`), with the row as it is then: nobody else changes it until this
 * transaction ends. Waits for the lock up to DB_LOCK_TIMEOUT_SECONDS. `fn` gets undefined when there is no such row.
 * Lock several rows in one order everywhere, or two transactions wait for each other.
 */
export async function withRowLock<T>(
  tx: Pick<ClientBase, 'query'>,
  { table, key }: RowLockOptions,
  fn: (row: QueryResultRow | undefined) => Promise<T>,
): Promise<T> {
  const where = Object.keys(key).map((name, i) => `${quoteIdentifier(name)} = $${i + 1}`)
  const text = `SELECT * FROM ${quoteQualified(table)} WHERE ${where.join(' AND ')} FOR UPDATE`
  return fn((await tx.query<QueryResultRow>(text, Object.values(key))).rows[0])
}
