import type { Queryable } from '../db/pool.ts'
import { loadStatements } from '../db/statements.ts'
import type { ReplayRange } from './replay.ts'

const sql = loadStatements('replay_range', ['split'])

/** Times as text. */
export interface RangeSplit {
  /** Null: it has no watermark. */
  readonly edge: string | null
  /** What lies before is behind the edge; it is in the range, or its end. */
  readonly at: string
}

/** Where the edge parts a range. Undefined: there is no such poller. */
export async function splitRange(
  db: Queryable,
  poller: string,
  { from, to }: ReplayRange,
): Promise<RangeSplit | undefined> {
  return (await db.query<RangeSplit & Record<string, unknown>>(sql.split, [poller, from, to])).rows[0]
}
