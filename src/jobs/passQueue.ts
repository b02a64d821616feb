import type { Boss, NextJob } from './boss.ts'
import { bringForward, selectUnfinished } from './jobRows.ts'
import { SAME_TIME_MS, type Rhythm } from './rhythm.ts'
import type { HeldJob } from './workers.ts'

/** The leader clears dead jobs itself; pg-boss's expiry only bounds a pass that hangs, in seconds. */
const EXPIRE_S = 3600
/** Ended jobs are kept a day: the ledger of passes is poll_run. */
const KEEP_S = 86_400
/** How soon after a failed pass by cron it is made again, in ms; doubled with each failure in a row, up to the longest. */
const AGAIN_MS = 30_000
const AGAIN_MOST_MS = 600_000

export async function makePassQueue({ pg }: Boss, queue: string): Promise<void> {
  const settings = { retryLimit: 0, expireInSeconds: EXPIRE_S, deleteAfterSeconds: KEEP_S }
  await pg.createQueue(queue, { policy: 'stately', ...settings })
  await pg.updateQueue(queue, settings)
}

/**
 * The job after a pass that was due at `due`, in ms by the database's clock. A cron's next time may be a day off, or a year:
 * where the pass failed its job comes again soon, and tells when the pass was due, however late that makes it. With an
 * interval the next pass is the repetition.
 */
export function nextJob(
  rhythm: Rhythm,
  { due, now, failures }: { readonly due: number; readonly now: number; readonly failures: number },
): NextJob & { readonly time: number } {
  const next = rhythm.next(due, now)
  const again = now + Math.min(AGAIN_MOST_MS, AGAIN_MS * 2 ** (failures - 1))
  if (failures === 0 || rhythm.atOnce || again >= next)
    return { time: next, options: { startAfter: new Date(next) } }
  return { time: again, data: { due }, options: { startAfter: new Date(again) } }
}

/** When the pass of a job was due, in ms: its own time, or that of the failed one which it repeats. */
export function dueOf({ data, dueAt }: HeldJob): number {
  const repeats = typeof data === 'object' && data !== null && 'due' in data ? data.due : undefined
  return typeof repeats === 'number' ? repeats : dueAt.getTime()
}

/** The queued job of a poller's queue is due now, and there is one. */
export async function makeDue({ pool, pg }: Boss, queue: string): Promise<void> {
  if (await bringForward(pool, queue)) return
  await pg.send(queue)
}

/**
 * There is a queued job: at its time, past or to come, or, where none is, at the rhythm's next. One that was queued for a
 * time beyond that is of a rhythm that was changed since (yearly, and now every minute), and is brought forward. Times in
 * ms, by the database's clock; returns the job's.
 */
export async function keepDue(
  { pool, pg }: Boss,
  queue: string,
  rhythm: Rhythm,
  now: number,
): Promise<number> {
  const next = rhythm.next(now, now)
  const { jobs } = await selectUnfinished(pool, queue)
  const queued = jobs.find(({ state }) => state !== 'active')?.startAfter.getTime()
  // A clock that is a moment behind the one by which the job was sent would have the time before it again.
  const soon = now + SAME_TIME_MS
  if (queued !== undefined && queued <= rhythm.next(soon, soon)) return queued
  const to = new Date(next)
  if (queued === undefined || !(await bringForward(pool, queue, { to })))
    await pg.send(queue, null, { startAfter: to })
  return next
}

/** The database's clock, carried on by the monotonic one. Before it was heard: this process's own. */
export class DatabaseClock {
  #heard = { database: Date.now(), monotonic: performance.now() }

  /** In milliseconds since 1970. */
  now(): number {
    return this.#heard.database + (performance.now() - this.#heard.monotonic)
  }

  set(database: Date): void {
    this.#heard = { database: database.getTime(), monotonic: performance.now() }
  }
}
