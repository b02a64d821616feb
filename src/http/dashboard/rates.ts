import type { Queryable } from '../../db/pool.ts'

/** Messages a second that were done, by source, over the newest whole minute; undefined: nobody has counted. */
export type DoneRates = (db: Queryable) => Promise<ReadonlyMap<string, number> | undefined>

export const doneRates: DoneRates = async () => undefined
