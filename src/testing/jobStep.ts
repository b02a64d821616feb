import type { ResolvedJob } from '../config/resolved.ts'
import type { Pool } from '../db/pool.ts'
import { TestStepImpossible } from '../errors.ts'
import type { JobSteps, SteppedRun } from '../jobs/stepJob.ts'
import { findPause } from '../tables/control.ts'
import type { JobOutcome } from './outcome.ts'
import { unknownTo } from './unknownTo.ts'

export interface JobStep {
  runJob(job: string, data: unknown): Promise<JobOutcome>
  runJobs(job: string): Promise<JobOutcome[]>
}

/** Jobs as a test runs them. */
export function createJobStep(pool: Pool, jobs: readonly ResolvedJob[], steps: JobSteps): JobStep {
  async function isPaused(job: string): Promise<boolean> {
    if (!jobs.some(({ name }) => name === job)) throw unknownTo('job', job, jobs)
    return (await findPause(pool, job)).paused
  }
  return {
    async runJob(job, data) {
      if (await isPaused(job)) throw new TestStepImpossible(`${job} is paused`)
      const id = await steps.send(job, data)
      if (id === null)
        throw new TestStepImpossible(
          `a job ${job} waits already, and only one may: runJobs() runs it when it is due`,
        )
      for (;;) {
        const run = await steps.next(job)
        if (run === undefined)
          throw new TestStepImpossible(`the job ${job} that was sent could not be fetched`)
        if (run.id === id) return outcomeOf(job, run)
      }
    },
    async runJobs(job) {
      const outcomes: JobOutcome[] = []
      if (await isPaused(job)) return outcomes
      for (let run = await steps.next(job); run !== undefined; run = await steps.next(job))
        outcomes.push(outcomeOf(job, run))
      return outcomes
    },
  }
}

const STATUS = { completed: 'DONE', retry: 'FAILED', failed: 'DEAD' } as const

function outcomeOf(job: string, { id, state, attempts, traceId, failure }: SteppedRun): JobOutcome {
  return {
    job,
    id,
    status: STATUS[state],
    attempts,
    error: failure?.text,
    thrown: failure?.thrown,
    traceId,
  }
}
