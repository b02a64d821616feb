import type { Queryable } from '../../db/pool.ts'
import { readHistory } from '../../tables/history.ts'

const MINUTE_MS = 60_000
/** Instances write what they counted a little after the minute. */
const MINUTES = 3

/** Messages a second that were done, by source, over the newest minute that was written; undefined: none was. */
export async function doneRates(db: Queryable): Promise<ReadonlyMap<string, number> | undefined> {
  const to = new Date(Math.floor(Date.now() / MINUTE_MS) * MINUTE_MS)
  const from = new Date(to.getTime() - MINUTES * MINUTE_MS)
  const points = (await readHistory(db, { from, to, stepMinutes: 1 })).filter(({ name }) => name === 'done')
  const newest = points.at(-1)?.at
  if (newest === undefined) return undefined
  return new Map(points.filter(({ at }) => at === newest).map(({ key, value }) => [key, value / 60]))
}
