/** Users' jobs in an instance: queues of all that can be sent, workers of those that run here. */
import type { ResolvedJob } from '../config/resolved.ts'
import { createBoss } from '../jobs/boss.ts'
import type { Boss } from '../jobs/boss.ts'
import { redriveJobs } from '../jobs/deadJobs.ts'
import type { RedriveOptions } from '../jobs/deadJobs.ts'
import { createSender } from '../jobs/send.ts'
import type { Sender } from '../jobs/send.ts'
import { createJobs, forgetRemovedJobs, makeJobQueues } from '../jobs/userJobs.ts'
import type { Jobs } from '../jobs/userJobs.ts'
import type { Log } from '../telemetry/log.ts'

export interface JobSide {
  readonly boss: Boss
  readonly jobs: Jobs
  readonly send: Sender
  readonly redrive: (options: RedriveOptions) => Promise<number>
  /** pg-boss, then the queues, then the workers. */
  start(): Promise<void>
}

export function createJobSide(options: {
  readonly boss: Parameters<typeof createBoss>[0]
  /** Those that run here. */
  readonly jobs: readonly ResolvedJob[]
  readonly allJobs: readonly ResolvedJob[]
  /** Whether a job is paused. */
  readonly held: (job: string) => boolean
  readonly log: Log
}): JobSide {
  const { jobs: own, allJobs, held, log } = options
  const boss = createBoss(options.boss)
  const send = createSender(boss, allJobs)
  const { instanceId } = options.boss
  const jobs = createJobs({ boss, jobs: own, instanceId, send, held, log })
  return {
    boss,
    jobs,
    send,
    redrive: (which) => redriveJobs(boss, allJobs, which),
    async start() {
      await boss.start()
      await makeJobQueues(boss, allJobs)
      await jobs.start()
      await forgetRemovedJobs(boss.pool, allJobs)
    },
  }
}
