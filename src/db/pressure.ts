/**
 * Pressure on the work pool: somebody waits for a connection, or nearly all of those that handlers do not hold are out.
 * Then less is claimed, so that what was claimed can finish: every handler more would be one more that waits.
 *
 * - *tight*: by the pool's own counts, at this moment. It passes by itself within milliseconds or does not.
 * - *refused*: a connection could not be had at all (the server's `max_connections`, a role's limit, the connect timeout).
 *   Asking again at once would only be refused again, so nothing is claimed for a second.
 *
 * An *episode* begins with a refusal for lack of connections, or when two looks in a row are tight, and ends after some
 * seconds without; it is said once. Leases and health have a pool of their own, so an episode costs speed, never a lead.
 */
import type { Log } from '../telemetry/log.ts'
import type { Pool } from './pool.ts'
import { errorClass } from './sqlstate.ts'

export interface Pressure {
  readonly state: 'none' | 'tight' | 'refused'
  /** Whether an episode is under way: it was said, and is not over. */
  readonly episode: boolean
  /** A handler asks for a connection and keeps it; call the result when it has given it back. */
  lend(): () => void
  /** A connection could not be had. */
  refused(error: unknown): void
  stop(): void
}

/** Of the connections that are not lent to handlers, this share out is tight. */
const TIGHT_SHARE = 0.95

/** Two looks this far apart tell a shortage from the jostle of one moment. */
const LOOK_EVERY_MS = 250

const REFUSED_MS = 1_000

/** Shorter pauses belong to the same episode. */
const OVER_AFTER_MS = 5_000

export function watchPressure(pool: Pool, log: Pick<Log, 'event'>): Pressure {
  let lent = 0
  let tightLooks = 0
  let refusedUntil = Number.NEGATIVE_INFINITY
  let pressedAt = Number.NEGATIVE_INFINITY
  let episode = false

  function isTight(): boolean {
    const { total, idle, waiting } = pool.counts
    // For a moment whoever asks is counted as waiting, also where connections are idle or may be made.
    return (
      waiting > idle + pool.max - total ||
      Math.max(0, total - idle - lent) >= TIGHT_SHARE * Math.max(0, pool.max - lent)
    )
  }

  function pressed(why: string): void {
    pressedAt = performance.now()
    if (episode) return
    episode = true
    const { total, idle, waiting } = pool.counts
    const msg = `connections are short: ${why}; ${total - idle} of ${pool.max} are in use, ${waiting} callers wait; claiming less`
    log.event('pool_pressure', msg, { waiting, in_use: total - idle, max: pool.max })
  }

  const timer = setInterval(() => {
    tightLooks = isTight() ? tightLooks + 1 : 0
    if (tightLooks >= 2) pressed('the pool is used up')
    else if (performance.now() - pressedAt > OVER_AFTER_MS) episode = false
  }, LOOK_EVERY_MS).unref()

  return {
    get state() {
      if (performance.now() < refusedUntil) return 'refused'
      return isTight() ? 'tight' : 'none'
    },
    get episode() {
      return episode
    },
    lend() {
      lent += 1
      let given = false
      return () => {
        if (!given) lent -= 1
        given = true
      }
    },
    refused(error) {
      refusedUntil = performance.now() + REFUSED_MS
      const why = errorClass(error)
      if (why === 'too_many_connections') pressed('the server refuses more')
      else if (why === 'pool_exhausted') pressed('none became free in time')
    },
    stop: () => clearInterval(timer),
  }
}
