import { interval } from '../db/interval.ts'
import type { Queryable } from '../db/pool.ts'
import { loadStatements } from '../db/statements.ts'

const sql = loadStatements('retry', ['bring_forward'])

/** Lets messages that wait by a clock `toleranceMs` or more ahead wait by the present one; returns how many, at most `limit` a source. */
export async function bringForward(db: Queryable, toleranceMs: number, limit: number): Promise<number> {
  return (await db.query(sql.bring_forward, [interval(toleranceMs), limit])).rowCount ?? 0
}
