import type { JobWithMetadata, PgBoss, WorkOptions } from 'pg-boss'
import type { Pool } from '../db/pool.ts'
import { within } from '../kit/within.ts'
import type { Log } from '../telemetry/log.ts'
import { createHold, type Hold } from './hold.ts'
import type { Attempt } from './jobRows.ts'

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
 * A handler may also write its end itself, or give its attempt back (hold.ts): again until the database answers.
 *
 * What the abandoned handler and pg-boss still write about an attempt that was given back meets the fence: the next
 * fetch of the job has a higher retry_count, here or anywhere (jobRows.giveBack says why). Of one that is being given
 * back pg-boss has no say from the first try on, whether or not that comes through.
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

export type JobHandler = (job: HeldJob, signal: AbortSignal, hold: Hold) => Promise<void>
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
/** How long giving back may take: without a database the jobs are left to the others, and to their expiry. */
export const GIVE_BACK_LIMIT_MS = 2_000
/** How long pg-boss gets to notice that the handlers it waits for are gone. */
const SETTLE_LIMIT_MS = 1_000

interface Held {
  readonly hold: Hold
  readonly abort: AbortController
  readonly released: PromiseWithResolvers<void>
}

/** Starts a worker; throws when pg-boss is stopped. */
export async function startWorker(
  boss: PgBoss,
  {
    pool,
    log,
    giveBackLimitMs,
  }: { readonly pool: Pool; readonly log: Log; readonly giveBackLimitMs: number },
  queue: string,
  options: PollingOptions,
  handler: JobHandler,
): Promise<BossWorker> {
  const holding = new Set<Held>()
  const everyS = options.notifyPollingIntervalSeconds ?? options.pollingIntervalSeconds ?? 0
  const staleMs = Math.max(FETCH_STALE_MS, FETCH_STALE_LOOKS * everyS * 1000)
  let closing = false
  let isResting = false
  const over = new AbortController()

  /** One whose end is being written is waited for: given back, it would run twice. */
  const release = async (held: Held): Promise<boolean> => {
    if (held.hold.settling !== undefined) return held.hold.settling.then(() => false)
    held.abort.abort(new Error('the job was given back'))
    const given = await held.hold.giveBack()
    held.released.resolve()
    return given
  }

  const id = await boss.work<object, unknown, PollingOptions & { includeMetadata: true }>(
    queue,
    { ...options, includeMetadata: true },
    async ([fetched]) => {
      if (fetched === undefined) return
      const job = heldJob(queue, fetched)
      const hold = createHold({ boss, pool, log, fetched, attempt: job, over: over.signal })
      const held: Held = { hold, abort: new AbortController(), released: Promise.withResolvers() }
      holding.add(held)
      try {
        if (closing) {
          await Promise.race([hold.giveBack(), held.released.promise])
          return
        }
        const signal = AbortSignal.any([fetched.signal, held.abort.signal])
        await Promise.race([handler(job, signal, hold), held.released.promise])
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
      let givenBack = 0
      const releasing = left.map(async (held) => {
        if (await release(held)) givenBack += 1
      })
      await within(giveBackLimitMs, Promise.allSettled(releasing))
      over.abort()
      for (const { released } of left) released.resolve()
      await within(SETTLE_LIMIT_MS, stopped)
      return givenBack
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
