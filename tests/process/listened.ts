import type { QueryResult, QueryResultRow } from 'pg'
import type { Pool } from '../../src/db/pool.ts'

/** A pool whose single statements are asked for through `on`, prepared ones like others. */
export function listened(
  pool: Pool,
  on: <R extends QueryResultRow>(text: string, ask: () => Promise<QueryResult<R>>) => Promise<QueryResult<R>>,
): Pool {
  return Object.assign(Object.create(pool) as Pool, {
    query: <R extends QueryResultRow>(text: string, values?: readonly unknown[]) =>
      on<R>(text, () => pool.query<R>(text, values)),
    prepared: <R extends QueryResultRow>(name: string, text: string, values: readonly unknown[]) =>
      on<R>(text, () => pool.prepared<R>(name, text, values)),
  })
}
