import type { JobWithMetadata, PgBoss } from 'pg-boss'
import type { Pool } from '../db/pool.ts'
import { backoffMs } from '../kit/backoff.ts'
import { pause } from '../kit/pause.ts'
import { cleanError } from '../telemetry/errorText.ts'
import type { Log } from '../telemetry/log.ts'
import { giveBack, type Attempt } from './jobRows.ts'

/*
 * An attempt in the hands of this process, from its fetch until the database has its end.
 *
 * pg-boss says an end once: a job that succeeded is *failed* when its completion meets one error, and what still runs when
 * pg-boss stops is failed too. So what matters is written here, and again until there is an answer. From then on pg-boss has
 * no say: it fences its writes by the attempt's number as it stands in the object it fetched, and finds a number there that
 * no attempt ever has. Whatever it does (its stop, its expiry, its own word when the handler returns) changes nothing.
 *
 * What cannot be written before the process ends stays active: its claim, or its having none, tells the others, who give it
 * back.
 */
export interface Hold {
  /** Back to the queue, unburned. True: it was given back; false: it was not ours any more, or the process ends. */
  giveBack(): Promise<boolean>
  /** Its end: done, or failed. Resolves when the database has it, the attempt was lost, or the process ends. */
  settle(failure?: { readonly error: unknown }): Promise<void>
  /** The end that is being written. */
  readonly settling: Promise<void> | undefined
}

/** Greater than the column can hold. */
const NEVER_AN_ATTEMPT = Number.MAX_SAFE_INTEGER
const AGAIN = { baseMs: 100, maxMs: 5_000 }

export function createHold(options: {
  readonly boss: PgBoss
  readonly pool: Pool
  readonly log: Log
  /** As pg-boss fetched it, and keeps it. */
  readonly fetched: JobWithMetadata<unknown>
  readonly attempt: Attempt
  /** Nothing is tried again from here on. */
  readonly over: AbortSignal
}): Hold {
  const { boss, pool, log, fetched, attempt, over } = options
  let giving: Promise<boolean> | undefined
  let settling: Promise<void> | undefined

  async function untilAnswered<T>(what: string, step: () => Promise<T>): Promise<T | undefined> {
    fetched.retryCount = NEVER_AN_ATTEMPT
    for (let failures = 1; ; failures += 1) {
      try {
        return await step()
      } catch (error) {
        if (failures === 1) log.event('loop_failed', what, { loop: attempt.queue, ...cleanError(error) })
      }
      if (over.aborted) return undefined
      await pause(backoffMs(failures, AGAIN), over)
    }
  }

  return {
    giveBack() {
      giving ??= untilAnswered('a job could not be given back', () => giveBack(pool, attempt)).then(
        (state) => state !== undefined && state !== 'lost',
      )
      return giving
    },
    settle(failure) {
      settling ??= untilAnswered('the end of a job could not be written', () =>
        failure === undefined
          ? boss.complete(attempt.queue, attempt)
          : boss.fail(attempt.queue, attempt, asObject(failure.error)),
      ).then(() => undefined)
      return settling
    },
    get settling() {
      return settling
    },
  }
}

/** As pg-boss keeps what a handler threw. */
function asObject(error: unknown): object {
  return typeof error === 'object' && error !== null ? error : { value: error }
}
