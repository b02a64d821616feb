/**
 * Jobs that run when they are asked to, one after another, without pg-boss's own workers and clocks: what a worker does with one job,
 * from the fetch to its end in the queue.
 */
import type { ResolvedJob } from '../config/resolved.ts'
import type { Pool } from '../db/pool.ts'
import { errorText } from '../telemetry/errorText.ts'
import type { Log } from '../telemetry/log.ts'
import { createClaims } from './claims.ts'
import { unpack } from './envelope.ts'
import { jobQueue } from './queues.ts'
import { runJob } from './runJob.ts'
import { createSender } from './send.ts'
import type { Sender } from './send.ts'
import { unstartedBoss } from './unstarted.ts'
import { makeJobQueues } from './userJobs.ts'
import { takeJob } from './workers.ts'

/** What became of one run. */
export interface SteppedRun {
  readonly id: string
  /** pg-boss's word for where the job stands now. */
  readonly state: 'completed' | 'retry' | 'failed'
  readonly attempts: number
  readonly traceId: string
  /** What the handler threw; undefined: it did not. */
  readonly failure: { readonly thrown: unknown; readonly text: string } | undefined
}

export interface JobSteps {
  readonly send: Sender
  /** Makes the queues of all jobs. */
  start(): Promise<void>
  /** Runs the next job of this name that is due; undefined: none is. */
  next(name: string): Promise<SteppedRun | undefined>
  close(): Promise<void>
}

export function createJobSteps(options: {
  readonly pool: Pool
  readonly jobs: readonly ResolvedJob[]
  readonly instanceId: string
  readonly log: Log
}): JobSteps {
  const { pool, jobs, log } = options
  const pg = unstartedBoss(pool)
  const send = createSender({ pg }, jobs)
  const claims = createClaims(pool, options.instanceId)
  return {
    send,
    start: () => makeJobQueues({ pg }, jobs),
    async next(name) {
      const job = jobs.find((one) => one.name === name)
      if (job === undefined) return undefined
      const queue = jobQueue(name)
      const held = await takeJob(pg, queue)
      if (held === undefined) return undefined
      await claims.claim(held)
      const failure = await runJob({ job, held, given: new AbortController().signal, send, log }).then(
        () => undefined,
        (thrown: unknown) => ({ thrown, text: errorText(thrown) }),
      )
      if (failure === undefined) await pg.complete(queue, held)
      else await pg.fail(queue, held, asObject(failure.thrown))
      claims.ended(held)
      const [row] = await pg.findJobs(queue, { id: held.id })
      const ended = row?.state === 'retry' || row?.state === 'failed' ? row.state : 'completed'
      const { traceId } = unpack(held.data, held.rootId)
      return { id: held.id, state: ended, attempts: held.retryCount + 1, traceId, failure }
    },
    close: () => claims.close(),
  }
}

/** As pg-boss keeps what a handler threw. */
function asObject(error: unknown): object {
  return typeof error === 'object' && error !== null ? error : { value: error }
}
