import { cleanError } from '../telemetry/errorText.ts'
import type { Log } from '../telemetry/log.ts'
import type { Boss } from './boss.ts'
import { bringForward } from './jobRows.ts'
import type { BossWorker, HeldJob } from './workers.ts'

/*
 * Our own duties (retention, records, history …) as pg-boss jobs: one queue, policy `exclusive`, one key per duty, so
 * at most one run of a duty is queued or active in the cluster, and any instance works it.
 *
 *   queued ──▶ run ──▶ completed, or failed and said ─┬─▶ queued again, in the same transaction
 *   process died, or run past 60 s: expired by pg-boss ┘   by `ensure`, which every instance runs each minute
 *
 * Exclusivity ends at the expiry while a frozen run may go on, so duties are idempotent.
 */

export interface Duty {
  readonly name: string
  readonly everyMs: number
  /**
   * Idempotent; ends within 60 s of its own accord or when the signal aborts. Resolves to the milliseconds until its next
   * run where that is not `everyMs`: what it left over, say.
   */
  readonly run: (signal: AbortSignal) => Promise<number | undefined> | Promise<void>
}

export interface Upkeep {
  start(): Promise<void>
  /** Takes on another duty, which is queued at once where it is not. */
  add(duty: Duty): void
  /** Makes a queued duty due now, whichever instance works it. One at work is not begun again. */
  hasten(duty: string): Promise<void>
  /** Waits up to `drainMs` for the duty at work, then gives it back. */
  stop(drainMs: number): Promise<void>
}

export const UPKEEP_QUEUE = 'upkeep'

/** A run of a duty that takes longer is given up, in seconds; a dead instance blocks its duty that long. */
const EXPIRE_S = 60
/** Finished duties are kept for an hour: their traces are what they did. */
const KEEP_S = 3_600
/** How often it is made sure that every duty is queued, in ms. */
const ENSURE_EVERY_MS = 60_000
const LOOK_EVERY_S = 2

export function createUpkeep(options: {
  readonly boss: Boss
  readonly duties: readonly Duty[]
  readonly log: Log
}): Upkeep {
  const { boss, log } = options
  const duties = new Map(options.duties.map((duty) => [duty.name, duty]))
  let worker: BossWorker | undefined
  let timer: NodeJS.Timeout | undefined
  let ensuring: Promise<void> = Promise.resolve()

  /** Jobs that are there already are left alone: the policy refuses a second one. */
  async function ensure(): Promise<void> {
    const jobs = [...duties.keys()].map((duty) => ({ singletonKey: duty }))
    if (jobs.length > 0) await boss.pg.insert(UPKEEP_QUEUE, jobs)
  }

  function ensureAgain(): void {
    ensuring = ensure().catch((error: unknown) => {
      log.event('loop_failed', 'duties could not be queued', { loop: UPKEEP_QUEUE, ...cleanError(error) })
    })
  }

  async function run(job: HeldJob, signal: AbortSignal): Promise<void> {
    const duty = duties.get(job.singletonKey ?? '')
    // Another release's duty: it ends here, and an instance that knows it queues it again within a minute.
    if (duty === undefined) return
    let failure: unknown
    let nextMs = duty.everyMs
    try {
      nextMs = (await duty.run(signal)) ?? nextMs
    } catch (error) {
      // Given back or expired: what was written about this attempt is not ours any more.
      if (signal.aborted) throw error
      failure = error
      log.event('job_failed', `the duty ${duty.name} failed; it is tried again at its next time`, {
        job: `${UPKEEP_QUEUE}.${duty.name}`,
        ...cleanError(error),
      })
    }
    const next = { startAfter: Math.max(1, Math.round(nextMs / 1000)), singletonKey: duty.name }
    await boss.finish(job, { queue: UPKEEP_QUEUE, options: next }, failure)
  }

  return {
    async start() {
      const settings = { retryLimit: 0, expireInSeconds: EXPIRE_S, deleteAfterSeconds: KEEP_S }
      await boss.pg.createQueue(UPKEEP_QUEUE, { policy: 'exclusive', ...settings })
      await boss.pg.updateQueue(UPKEEP_QUEUE, settings)
      await ensure()
      worker = await boss.work(UPKEEP_QUEUE, { pollingIntervalSeconds: LOOK_EVERY_S }, run)
      timer = setInterval(ensureAgain, ENSURE_EVERY_MS)
    },
    add(duty) {
      duties.set(duty.name, duty)
      if (worker !== undefined) ensureAgain()
    },
    async hasten(duty) {
      if (await bringForward(boss.pool, UPKEEP_QUEUE, duty)) worker?.wake()
    },
    async stop(drainMs) {
      clearInterval(timer)
      await ensuring
      await worker?.close(drainMs)
    },
  }
}
