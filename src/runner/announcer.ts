import type { Queryable } from '../db/pool.ts'
import { announceInserted } from '../tables/inbox.ts'

/** NOTIFY takes a lock of the whole database at commit: once per this time and source is plenty for a hint. */
const ANNOUNCE_EVERY_MS = 100

/**
 * Where this instance's own processors take from the source, the others hear a moment later: what can begin here has begun
 * by then, and its claim has not had to wait for the notification's commit.
 */
const OWN_FIRST_MS = 10

/**
 * Wakes this instance's processors at once, and the others' by NOTIFY, at most so often.
 *
 * @param wakeFor says whether it woke any
 */
export function announcer(pool: Queryable, wakeFor: (source: string) => boolean): (source: string) => void {
  const last = new Map<string, number>()
  const timers = new Map<string, NodeJS.Timeout>()
  const notify = (source: string): void => {
    last.set(source, performance.now())
    void announceInserted(pool, source).catch(() => undefined) // a hint: others look by the clock
  }
  return (source) => {
    const leastMs = wakeFor(source) ? OWN_FIRST_MS : 0
    if (timers.has(source)) return
    const dueAt = (last.get(source) ?? Number.NEGATIVE_INFINITY) + ANNOUNCE_EVERY_MS
    const waitMs = Math.max(leastMs, dueAt - performance.now())
    if (waitMs <= 0) notify(source)
    else {
      const timer = setTimeout(() => {
        timers.delete(source)
        notify(source)
      }, waitMs)
      timers.set(source, timer.unref())
    }
  }
}
