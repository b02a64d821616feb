import type { ClientBase, QueryResultRow } from 'pg'
import { quoteIdentifier, quoteQualified } from '../db/identifier.ts'

export interface GetOrCreateOptions {
  /** `schema.table`. */
  readonly table: string
  /** Columns of a unique constraint, with their values. */
  readonly key: Readonly<Record<string, unknown>>
  /** Further columns of a new row. Default: their own defaults. */
  readonly values?: Readonly<Record<string, unknown>>
}

/** The row was deleted between the insert that met it and the look at it, every time; somebody keeps deleting it. */
const TRIES = 10

/**
 * Gets the row under a unique key, or creates it; safe when several do so at once. Needs a unique constraint on exactly
 * the columns of `key`, and a transaction in READ COMMITTED (the default), where a row that another transaction committed
 * meanwhile is seen by the next statement. Throws what the database says.
 */
export async function getOrCreate(
  tx: Pick<ClientBase, 'query'>,
  { table, key, values = {} }: GetOrCreateOptions,
): Promise<{ row: QueryResultRow; created: boolean }> {
  const all = { ...values, ...key }
  const columns = Object.keys(all).map(quoteIdentifier)
  const keys = Object.keys(key).map(quoteIdentifier)
  const insert =
    `INSERT INTO ${quoteQualified(table)} (${columns.join(', ')}) VALUES (${columns.map((_, i) => `$${i + 1}`).join(', ')}) ` +
    `ON CONFLICT (${keys.join(', ')}) DO NOTHING RETURNING *`
  const select = `SELECT * FROM ${quoteQualified(table)} WHERE ${keys.map((name, i) => `${name} = $${i + 1}`).join(' AND ')}`
  for (let tries = 1; ; tries += 1) {
    const created = (await tx.query<QueryResultRow>(insert, Object.values(all))).rows[0]
    if (created !== undefined) return { row: created, created: true }
    const found = (await tx.query<QueryResultRow>(select, Object.values(key))).rows[0]
    if (found !== undefined) return { row: found, created: false }
    if (tries >= TRIES) throw new Error(`getOrCreate: the row of ${table} disappears as soon as it is there`)
  }
}
