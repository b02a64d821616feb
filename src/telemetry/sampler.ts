import type { EventName } from './eventFields.ts'
import { PER_MESSAGE_EVENTS } from './events.ts'

/**
 * Lines of one per-message event a second at which nothing is left out. Enough to follow a quiet system
 * message by message; at thousands a second writing them all would cost more than the work they tell of.
 */
const LINES_PER_SECOND = 50

/** What was written of one event since its second began. */
interface Window {
  startedAt: number
  written: number
  leftOut: number
}

/** Thins out per-message lines. */
export interface Sampler {
  /** `null`: leave this line out. A number: write it, and say that so many before it were left out. */
  admit(event: EventName): number | null
  /** Whether the next line of this event would be left out; it then counts as left out. */
  leavesOut(event: EventName): boolean
}

/** A sampler by the given clock (milliseconds, monotonic). */
export function createSampler(now: () => number, linesPerSecond = LINES_PER_SECOND): Sampler {
  const windows = new Map<EventName, Window>()

  function windowOf(event: EventName): Window {
    const at = now()
    let window = windows.get(event)
    if (window === undefined) {
      window = { startedAt: at, written: 0, leftOut: 0 }
      windows.set(event, window)
    } else if (at - window.startedAt >= 1000) {
      window.startedAt = at
      window.written = 0
    }
    return window
  }

  return {
    leavesOut(event) {
      if (!PER_MESSAGE_EVENTS.has(event)) return false
      const window = windowOf(event)
      if (window.written < linesPerSecond) return false
      window.leftOut += 1
      return true
    },
    admit(event) {
      if (!PER_MESSAGE_EVENTS.has(event)) return 0
      const window = windowOf(event)
      if (window.written >= linesPerSecond) {
        window.leftOut += 1
        return null
      }
      window.written += 1
      const leftOut = window.leftOut
      window.leftOut = 0
      return leftOut
    },
  }
}

/** Writes every line. */
export const everyLine: Sampler = { admit: () => 0, leavesOut: () => false }
