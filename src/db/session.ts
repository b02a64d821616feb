import type { ClientBase } from 'pg'
import { loadStatements } from './statements.ts'

const sql = loadStatements('session', ['catalog_first'])

/**
 * Puts `pg_catalog` in front of the session's search path where the role's or the database's own path names it later:
 * a schema with look-alike functions and operators before it would answer in their place. Costs one round trip a
 * connection. The rest of the path stays, since handlers write to tables that only it finds.
 */
export async function catalogFirst(client: ClientBase): Promise<void> {
  await client.query(sql.catalog_first)
}
