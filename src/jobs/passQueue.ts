import type { Boss } from './boss.ts'
import { bringForward, selectUnfinished } from './jobRows.ts'
import { SAME_TIME_MS, type Rhythm } from './rhythm.ts'

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
