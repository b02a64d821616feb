import type { Queryable } from '../db/pool.ts'
import { announceInserted } from '../tables/inbox.ts'

/** NOTIFY takes a lock of the whole database at commit: once per this time and source is plenty for a hint. */
const ANNOUNCE_EVERY_MS = 100

/** Wakes this instance's processors at once, and the others' by NOTIFY, at most so often. */
export function announcer(pool: Queryable, wakeFor: (source: string) => void): (source: string) => void {
  const last = new Map<string, number>()
  const timers = new Map<string, NodeJS.Timeout>()
  const notify = (source: string): void => {
    last.set(source, performance.now())
    void announceInserted(pool, source).catch(() => undefined) // a hint: others look by the clock
  }
  return (source) => {
    wakeFor(source)
    if (timers.has(source)) return
    const waitMs = (last.get(source) ?? Number.NEGATIVE_INFINITY) + ANNOUNCE_EVERY_MS - performance.now()
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
