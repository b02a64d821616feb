import { JobUnknown } from '../errors.ts'
import type { Boss } from './boss.ts'
import { DEAD_QUEUE, jobQueue } from './queues.ts'

/** Which dead jobs are sent again. */
export interface RedriveOptions {
  /** Of this job alone. Default: of every job. */
  readonly job?: string
  /** These alone, by their ids in `jobs.dead`. */
  readonly ids?: readonly string[]
  /** At most so many, the oldest first. Default: 1000. */
  readonly limit?: number
}

/**
 * Sends jobs again that have failed for good: each goes back to its own queue with its data, its trace id and all of its
 * retries, and leaves `jobs.dead`. One whose singleton key is taken stays there, failed.
 * @returns how many were sent
 * @throws JobUnknown
 */
export async function redriveJobs(
  boss: Boss,
  jobs: readonly { readonly name: string }[],
  { job, ids, limit }: RedriveOptions,
): Promise<number> {
  if (job !== undefined && !jobs.some(({ name }) => name === job))
    throw new JobUnknown(
      job,
      jobs.map(({ name }) => name),
    )
  if (jobs.length === 0 || ids?.length === 0) return 0
  return boss.pg.redrive(DEAD_QUEUE, {
    ...(job === undefined ? {} : { sourceName: jobQueue(job) }),
    ...(ids === undefined ? {} : { ids: [...ids] }),
    ...(limit === undefined ? {} : { limit }),
  })
}
