import type { Pool } from '../db/pool.ts'
import { JobFreezesInstances, JobKilledProcesses } from '../errors.ts'
import { cleanError } from '../telemetry/errorText.ts'
import type { Log } from '../telemetry/log.ts'
import { countGone, forgetClaims, lostJobOwners, selectHeldBy, takeBackJob } from './claimRows.ts'
import { unstartedBoss } from './unstarted.ts'

/*
 * Jobs of an instance that is gone are given back by whoever sees that it is gone: the claims say what it had, and the fence
 * of each attempt (queue, id, retry_count, active) lets one of several observers do it, once.
 *
 * - *It is frozen*: up to FREEZES - 1 in a row are given back unburned; then each counts as a failure, since a job that blocks
 *   the event loop would freeze one instance after the other, for ever. Should it wake up, its handler goes on beside the new
 *   one; nothing that it says about the job counts any more. What a handler does outside cannot be fenced.
 * - *It died*: most deaths are not the job's doing (a deploy's kill, a lost host), so up to DEATHS - 1 in a row are forgiven,
 *   whatever its retryLimit. Then each counts as a failure: a job that ends its process does not do so for ever.
 * - *Nobody was there to see it*: the next instance finds its claims at start, before pg-boss looks for silent jobs.
 */

/** Deaths in a row from which on each burns a retry. */
const DEATHS = 3
/** Freezes in a row from which on each does: more, since a stopped machine freezes what it has, too. */
const FREEZES = 5

/** Gives back what an instance that is gone had; returns the queues. May be called by anybody, at any time and again. */
export async function takeBackJobs(
  pool: Pool,
  instanceId: string,
  state: 'dead' | 'frozen',
  log: Log,
): Promise<number> {
  let jobs = 0
  for (const attempt of await selectHeldBy(pool, instanceId)) {
    const died = state === 'dead'
    if (died ? attempt.deaths + 1 < DEATHS : attempt.freezes + 1 < FREEZES) {
      if (await takeBackJob(pool, attempt, instanceId, died)) jobs += 1
      continue
    }
    const error = died
      ? new JobKilledProcesses(attempt.deaths + 1)
      : new JobFreezesInstances(attempt.freezes + 1)
    // In its answer, if not in its types.
    const answer: { readonly affected?: number } = await unstartedBoss(pool).fail(attempt.queue, attempt, {
      ...cleanError(error),
    })
    // Somebody else has failed it, or its owner has settled it after all.
    if (answer.affected === 0) continue
    await countGone(pool, attempt, instanceId, died)
    const job = attempt.queue.slice(attempt.queue.indexOf('.') + 1)
    log.event('job_failed', `${job} failed: ${error.message}`, {
      job,
      job_id: attempt.id,
      attempt: attempt.retryCount + 1,
      ...cleanError(error),
    })
  }
  if (jobs > 0)
    log.event('reclaimed_jobs', `took back ${jobs} jobs of ${instanceId}, which is ${state}`, {
      dead_instance: instanceId,
      jobs,
      reason: state,
    })
  return jobs
}

/** At start, and now and then: what instances had that nobody watches any more. `asking` is never one of them. */
export async function takeBackLostJobs(pool: Pool, asking: string, log: Log): Promise<void> {
  for (const owner of await lostJobOwners(pool, asking)) await takeBackJobs(pool, owner, 'dead', log)
  await forgetClaims(pool)
}
