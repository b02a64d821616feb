import type { ResolvedJob } from '../../src/config/resolved.ts'
import type { Boss } from '../../src/jobs/boss.ts'
import { createSender, type Sender } from '../../src/jobs/send.ts'
import { createJobs, makeJobQueues, type Jobs } from '../../src/jobs/userJobs.ts'
import type { Bosses } from './bosses.ts'

/** A job as a config gives it. */
export function jobOf(handle: ResolvedJob['handle'], more: Partial<ResolvedJob> = {}): ResolvedJob {
  return {
    name: 'report',
    schedule: null,
    tz: 'UTC',
    missed: 'once',
    retryLimit: 2,
    timeoutMs: 30_000,
    handle,
    ...more,
  }
}

/** Jobs of one instance, at work. */
export async function startJobs(
  { log }: Bosses,
  boss: Boss,
  jobs: readonly ResolvedJob[],
  more: { instanceId?: string; held?: (job: string) => boolean } = {},
): Promise<Jobs & { readonly send: Sender }> {
  await makeJobQueues(boss, jobs)
  const send = createSender(boss, jobs)
  const made = createJobs({ boss, jobs, instanceId: 'test', send, log, ...more })
  await made.start()
  return { ...made, send }
}
