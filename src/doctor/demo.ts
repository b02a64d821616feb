import type { Queryable } from '../db/pool.ts'
import { MISSING_STATES, sqlState } from '../db/sqlstate.ts'
import { sql } from './statements.ts'

/** Whether the demo runs, or ran, on this database. One that is not to be read is none. */
export async function isDemo(db: Queryable): Promise<boolean> {
  try {
    return (await db.query<{ is_demo: boolean }>(sql.demo)).rows[0]?.is_demo === true
  } catch (error) {
    if (MISSING_STATES.has(sqlState(error) ?? '') || sqlState(error) === '42501') return false
    throw error
  }
}
