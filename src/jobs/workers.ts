import type { JobWithMetadata, PgBoss, WorkOptions } from 'pg-boss'
import type { Pool } from '../db/pool.ts'
import { within } from '../kit/within.ts'
import { giveBack, type Attempt } from './jobRows.ts'

/*
 * Workers of pg-boss that can be stopped without hurting a job.
 *
 * pg-boss' own stop() *fails* what still runs when its time is up: a job without retries is dead then, another has
 * one retry less. So every attempt that this process holds is known here, from the fetch to the end of its handler:
 *
 *   fetched → held → handler returns → pg-boss completes it   (fenced by retry_count)
 *                 └→ handler throws  → pg-boss fails or retries it
 *                 └→ close(): time is up → given back (fenced, unburned), signal aborted, handler no longer waited for
 *   fetched while closing → given back at once
 *
 * What the abandoned handler and pg-boss still write about an attempt that was given back meets the fence: the next
 * fetch of the job has a higher retry_count, here or anywhere (jobRows.giveBack says why).
 */

/** One attempt at a job, held by this process. Times are the database's. */
export interface HeldJob extends Attempt {
  readonly data: unknown
  readonly singletonKey: string | null
  /** The first job of its chain: of one that was dead and sent again, the one that died first. */
  readonly rootId: string
  readonly dueAt: Date
  readonly fetchedAt: Date
}

export type JobHandler = (job: HeldJob, signal: AbortSignal) => Promise<void>
export type PollingOptions = Pick<
  WorkOptions,
  'pollingIntervalSeconds' | 'notifyPollingIntervalSeconds' | 'localConcurrency'
>

/** A worker of one queue. */
export interface BossWorker {
  readonly queue: string
  /** Jobs whose handlers run. */
  readonly held: number
  /** Looks for a job now instead of at its next turn. */
  wake(): void
  /** Fetches no more; what is held goes on. `wanted`: that is as it should be, and no trouble. */
  stopFetching(wanted?: boolean): Promise<void>
  /**
   * Fetches no more, waits up to `graceMs` for what is held, then aborts it and gives it back.
   * @returns how many jobs were given back
   */
  close(graceMs: number): Promise<number>
  /** Why it does not work, or undefined when it does. */
  trouble(): string | undefined
}

/** An idle worker that has not fetched for this long, in ms, is stuck or cannot reach the database; one that looks seldom … */
const FETCH_STALE_MS = 15_000
/** … for so many of its looks. */
const FETCH_STALE_LOOKS = 3
/** How long giving back may take, in ms: without a database the jobs are left to their expiry. */
export const GIVE_BACK_LIMIT_MS = 2_000
/** How long pg-boss gets to notice that the handlers it waits for are gone. */
const SETTLE_LIMIT_MS = 1_000

interface Held {
  readonly job: HeldJob
  readonly abort: AbortController
  readonly released: PromiseWithResolvers<void>
}

/** Starts a worker; throws when pg-boss is stopped. */
export async function startWorker(
  boss: PgBoss,
  pool: Pool,
  queue: string,
  options: PollingOptions,
  handler: JobHandler,
): Promise<BossWorker> {
  const holding = new Set<Held>()
  const everyS = options.notifyPollingIntervalSeconds ?? options.pollingIntervalSeconds ?? 0
  const staleMs = Math.max(FETCH_STALE_MS, FETCH_STALE_LOOKS * everyS * 1000)
  let closing = false
  let isResting = false

  const release = async (held: Held): Promise<void> => {
    held.abort.abort(new Error('the job was given back'))
    try {
      await giveBack(pool, held.job)
    } finally {
      held.released.resolve()
    }
  }

  const id = await boss.work<object, unknown, PollingOptions & { includeMetadata: true }>(
    queue,
    { ...options, includeMetadata: true },
    async ([fetched]) => {
      if (fetched === undefined) return
      const job = heldJob(queue, fetched)
      if (closing) {
        await giveBack(pool, job)
        return
      }
      const held: Held = { job, abort: new AbortController(), released: Promise.withResolvers() }
      holding.add(held)
      try {
        const signal = AbortSignal.any([fetched.signal, held.abort.signal])
        await Promise.race([handler(job, signal), held.released.promise])
      } catch (error) {
        // Our own abort may have ended it: pg-boss must not hear of it, and fail the job, before it is given back.
        if (held.abort.signal.aborted) await held.released.promise
        throw error
      } finally {
        holding.delete(held)
      }
    },
  )

  return {
    queue,
    get held() {
      return holding.size
    },
    wake: () => {
      boss
        .getWipData({ includeInternal: false })
        .filter((worker) => worker.workId === id)
        .forEach((worker) => boss.notifyWorker(worker.id))
    },
    stopFetching: (wanted = false) => {
      closing = true
      isResting = wanted
      return boss.offWork(queue, { id, wait: false })
    },
    async close(graceMs) {
      closing = true
      const stopped = boss.offWork(queue, { id, wait: true })
      if (await within(graceMs, stopped)) return 0
      const left = [...holding]
      await within(GIVE_BACK_LIMIT_MS, Promise.allSettled(left.map(release)))
      await within(SETTLE_LIMIT_MS, stopped)
      return left.length
    },
    trouble() {
      if (isResting) return undefined
      const workers = boss.getWipData().filter((worker) => worker.workId === id)
      if (closing || workers.length === 0) return `the worker of ${queue} is stopped`
      const stale = workers.some(
        ({ count, lastFetchedOn, createdOn }) =>
          count === 0 && Date.now() - (lastFetchedOn ?? createdOn) > staleMs,
      )
      return stale ? `the worker of ${queue} has not looked for jobs for ${staleMs / 1000} s` : undefined
    },
  }
}

/** Fetches one due job by hand, as the backstop does when the worker brings none. */
export async function takeJob(boss: PgBoss, queue: string): Promise<HeldJob | undefined> {
  const [job] = await boss.fetch(queue, { includeMetadata: true })
  return job === undefined ? undefined : heldJob(queue, job)
}

function heldJob(queue: string, job: JobWithMetadata<unknown>): HeldJob {
  const { id, retryCount, data, singletonKey, sourceRootId, startAfter, startedOn } = job
  const rootId = sourceRootId ?? id
  return { queue, id, retryCount, data, singletonKey, rootId, dueAt: startAfter, fetchedAt: startedOn }
}
