import type { Pool } from '../db/pool.ts'
import { takeBackLostJobs } from '../jobs/takeBack.ts'
import { reclaimFromLost } from '../process/reclaim.ts'
import type { Log } from '../telemetry/log.ts'

/** At start, and now and then: messages and jobs of instances that nobody watches any more. */
export async function takeBackLost(pool: Pool, asking: string, log: Log): Promise<void> {
  await reclaimFromLost(pool, log)
  await takeBackLostJobs(pool, asking, log)
}
