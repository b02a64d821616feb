/**
 * A start that persists: once the database has answered, neither its absence nor somebody's lock ends the instance.
 *
 *     step ──done──▶ next step
 *      ▲ └──failed──┬─ what time may mend: said once a reason ──▶ 0.1 to 2 s ──┐
 *      └────────────┼────────────────────────────────────────────────────────┘
 *                   └─ anything else, or told to stop ──▶ the start fails
 *
 * Every step may be done again. Meanwhile `/ready` says `starting`, or `database_unavailable` where the pulse sees it.
 *
 * - *The database is away, or has no connection left for us*: it is asked again until it answers.
 * - *Somebody holds a lock*, such as a transaction that a person forgot: while the step waits, another connection looks
 *   who that is, so that the line names table, holder and remedy. An instance that ended instead would be started
 *   again, end again, and keep every deploy from going on, without a word of the cause.
 * - *A statement takes longer than its limit*: the load may pass. A file of a migration is left out, which would take
 *   as long again, with everybody behind it.
 */
import { blockerFields, describeBlocker, findBlocker, watchBlocker } from '../db/blocker.ts'
import type { Blocker } from '../db/blocker.ts'
import type { Queryable } from '../db/pool.ts'
import { errorClass } from '../db/sqlstate.ts'
import type { ErrorClass } from '../db/sqlstate.ts'
import { MigrationFailed } from '../errors.ts'
import { backoffMs } from '../kit/backoff.ts'
import { pause } from '../kit/pause.ts'
import { cleanError } from '../telemetry/errorText.ts'
import type { Log } from '../telemetry/log.ts'

export interface PersistOptions {
  readonly log: Log
  /** When aborted, nothing is tried again. */
  readonly signal: AbortSignal
  /** Asked who is in the way; not what the steps wait on. */
  readonly lookout: Queryable
  /** Name of the connections that the steps use. */
  readonly applicationName: string
}

/**
 * Does a step of the start until it is done; `what` completes "the start waits". Throws what no time mends, and, once the
 * signal is aborted, its reason.
 */
export type Persist = <T>(what: string, step: () => Promise<T>) => Promise<T>

const MENDED_BY_TIME: ReadonlySet<ErrorClass> = new Set([
  'connection',
  'pool_exhausted',
  'too_many_connections',
  'timeout',
  'lock_timeout',
  'deadlock',
  'serialization',
])

/** Those of them that a lock explains. */
const WAITED: ReadonlySet<ErrorClass> = new Set(['lock_timeout', 'timeout'])

const AGAIN = { baseMs: 200, maxMs: 2_000 }

/** A lock that is waited for less than this is ordinary traffic; a heartbeat gives up after a second. */
const LOOK_EVERY_MS = 400

/** Some statements of the queue wait for up to 30 s; who is in their way is said before. */
const SAY_AFTER_MS = 5_000

export function createPersist({ log, signal, lookout, applicationName }: PersistOptions): Persist {
  const look = () => findBlocker(lookout, applicationName)
  return async (what, step) => {
    const said = new Set<string>()
    function say(why: ErrorClass, text: string, blocker: Blocker | undefined): void {
      const reason = `${why} ${blocker?.pid}`
      if (said.has(reason)) return
      said.add(reason)
      const cause = blocker === undefined ? text : describeBlocker(blocker)
      log.event('start_waits', `the start waits ${what}: ${cause}; tried again until it is done`, {
        step: what,
        class: why,
        text,
        ...(blocker === undefined ? {} : blockerFields(blocker)),
      })
    }
    for (let failures = 1; ; failures += 1) {
      const watch = watchBlocker(look, LOOK_EVERY_MS, (blocker, forMs) => {
        if (forMs >= SAY_AFTER_MS) say('lock_timeout', 'waiting for a lock', blocker)
      })
      try {
        return await step()
      } catch (error) {
        signal.throwIfAborted()
        if (!isMendedByTime(error)) throw error
        const why = errorClass(error)
        say(why, cleanError(error).text, WAITED.has(why) ? watch.seen : undefined)
      } finally {
        watch.stop()
      }
      await pause(backoffMs(failures, AGAIN), signal)
      signal.throwIfAborted()
    }
  }
}

function isMendedByTime(error: unknown): boolean {
  const why = errorClass(error)
  return MENDED_BY_TIME.has(why) && !(why === 'timeout' && error instanceof MigrationFailed)
}
