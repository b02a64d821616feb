import { cleanError } from '../telemetry/errorText.ts'
import type { Log } from '../telemetry/log.ts'
import type { Boss } from './boss.ts'
import { bringForward } from './jobRows.ts'
import type { BossWorker, HeldJob } from './workers.ts'

/*
 * Our own duties (retention, records, history …) as pg-boss jobs: queues of policy `exclusive`, one key per duty, so
 * at most one run of a duty is queued or active in the cluster, and any instance that has it works it.
 *
 *   queued ──▶ run ──▶ completed, or failed and said ─┬─▶ queued again, in the same transaction
 *   process died, or run past 60 s: expired by pg-boss ┘   by `ensure`, which every instance runs each minute
 *
 * Exclusivity ends at the expiry while a frozen run may go on, so duties are idempotent.
 *
 * What every instance can do is in one queue. A duty that not every instance has (a poller's: process groups, releases with
 * other configs) is in a queue that those alone work that have it. In one for all, strangers would fetch its job and could
 * only end it or put it back, mostly to meet it again: a sweep of many slices got two of them in two minutes among three.
 */

export interface Duty {
  readonly name: string
  /** Its queue, where not every instance has it. Default: the one of all. */
  readonly queue?: string
  readonly everyMs: number
  /**
   * Idempotent; ends within 60 s of its own accord or when the signal aborts. Resolves to the milliseconds until its next
   * run where that is not `everyMs`: what it left over, say. `leave`: this instance has no part in it any more, and works
   * its queue no longer; looking at it as often as others do, it could keep them from ever getting the job.
   */
  readonly run: (signal: AbortSignal) => Promise<number | 'leave' | undefined> | Promise<void>
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
/** A worker that is not woken looks by itself; the look of the whole instance is sooner, and no duty is in a hurry. */
const LOOK_EVERY_S = 60
/** For the run that found out that its queue is to be left. */
const LEAVE_MS = 5_000

export function createUpkeep(options: {
  readonly boss: Boss
  readonly duties: readonly Duty[]
  readonly log: Log
}): Upkeep {
  const { boss, log } = options
  const duties = new Map(options.duties.map((duty) => [duty.name, duty]))
  const workers = new Map<string, BossWorker>()
  let timer: NodeJS.Timeout | undefined
  /** What is under way, one after the other: a queue is opened once. */
  let ensuring: Promise<void> = Promise.resolve()

  async function open(queue: string): Promise<void> {
    if (workers.has(queue)) return
    const settings = { retryLimit: 0, expireInSeconds: EXPIRE_S, deleteAfterSeconds: KEEP_S }
    await boss.pg.createQueue(queue, { policy: 'exclusive', ...settings })
    await boss.pg.updateQueue(queue, settings)
    workers.set(queue, await boss.work(queue, { pollingIntervalSeconds: LOOK_EVERY_S }, run))
  }

  /** Jobs that are there already are left alone: the policy refuses a second one. */
  async function ensure(): Promise<void> {
    const byQueue = Map.groupBy(duties.values(), queueOf)
    // An old release's duties are in the common queue, whether or not this one has any there.
    for (const queue of new Set([UPKEEP_QUEUE, ...byQueue.keys()])) {
      await open(queue)
      const jobs = (byQueue.get(queue) ?? []).map(({ name }) => ({ singletonKey: name }))
      if (jobs.length > 0) await boss.pg.insert(queue, jobs)
    }
  }

  function ensureAgain(): void {
    ensuring = ensuring.then(ensure).catch((error: unknown) => {
      log.event('loop_failed', 'duties could not be queued', { loop: UPKEEP_QUEUE, ...cleanError(error) })
    })
  }

  /** Without a wait: the run that asks for it is one of the queue's own. */
  function leave(queue: string): void {
    for (const duty of duties.values()) if (queueOf(duty) === queue) duties.delete(duty.name)
    const worker = workers.get(queue)
    workers.delete(queue)
    void worker?.close(LEAVE_MS).catch(() => undefined) // what it still held is given out again when it expires
  }

  async function run(job: HeldJob, signal: AbortSignal): Promise<void> {
    const duty = duties.get(job.singletonKey ?? '')
    // Another release's duty: it ends here, and an instance that knows it queues it again within a minute.
    if (duty === undefined) return
    let failure: unknown
    let nextMs = duty.everyMs
    const name = `${UPKEEP_QUEUE}.${duty.name}`
    const startedAt = performance.now()
    const elapsed = (): number => Math.round(performance.now() - startedAt)
    try {
      const said = (await duty.run(signal)) ?? nextMs
      if (said === 'leave') leave(queueOf(duty))
      nextMs = said === 'leave' ? 0 : said
      log.event('duty_done', `the duty ${duty.name} done`, { job: name, duration_ms: elapsed() })
    } catch (error) {
      // Given back or expired: what was written about this attempt is not ours any more.
      if (signal.aborted) throw error
      failure = error
      log.event('job_failed', `the duty ${duty.name} failed; it is tried again at its next time`, {
        job: name,
        duration_ms: elapsed(),
        ...cleanError(error),
      })
    }
    const next = { startAfter: Math.max(1, Math.round(nextMs / 1000)), singletonKey: duty.name }
    await boss.finish(job, { queue: queueOf(duty), options: next }, failure)
  }

  return {
    async start() {
      await ensure()
      timer = setInterval(ensureAgain, ENSURE_EVERY_MS)
    },
    add(duty) {
      duties.set(duty.name, duty)
      if (timer !== undefined) ensureAgain()
    },
    async hasten(name) {
      const duty = duties.get(name)
      if (duty === undefined) return
      if (await bringForward(boss.pool, queueOf(duty), { key: name })) workers.get(queueOf(duty))?.wake()
    },
    async stop(drainMs) {
      clearInterval(timer)
      await ensuring
      await Promise.all([...workers.values()].map((worker) => worker.close(drainMs)))
    },
  }
}

function queueOf({ queue }: Duty): string {
  return queue ?? UPKEEP_QUEUE
}
