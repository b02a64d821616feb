/** Names of queues, as operators see them in pgboss.job. */

/** The queue of a user's job. */
export function jobQueue(job: string): string {
  return `job.${job}`
}

/** Where copies of jobs lie that have failed for good, until somebody sends them again or they are forgotten. */
export const DEAD_QUEUE = 'jobs.dead'
