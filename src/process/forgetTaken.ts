/**
 * Retention of what was sent to an intake. It has no source to be read again, no edge and no watermark: a finished message is
 * simply deleted once it was finished longer ago than the retention. Until then its id is recognised, and the
 * same message sent again is a duplicate; from then on it would be a new one.
 *
 * The walk is that of retention.ts, and what stays is the same: DEAD, open and discarded messages, and the newest of all.
 */
import type { Queryable } from '../db/pool.ts'
import { forgetTaken } from '../tables/intake.ts'
import { BATCH, beginning, nextWalk, SLICE_MS } from './retention.ts'
import type { RetentionSlice, Walk } from './retention.ts'

export interface IntakeRetentionOptions {
  readonly db: Queryable
  readonly intake: string
  readonly retentionMs: number
  /** What the slice before returned. Default: a walk from the beginning. */
  readonly walk?: Walk | undefined
  readonly signal: AbortSignal
  /** How long to go on at once, in milliseconds. Default: 20 s. */
  readonly sliceMs?: number
  /** Messages looked at in one statement. Default: 2,000. */
  readonly batch?: number
}

/** Forgets for one slice of time. */
export async function forgetFinishedTaken(options: IntakeRetentionOptions): Promise<RetentionSlice> {
  const { db, intake, retentionMs, signal, sliceMs = SLICE_MS, batch = BATCH } = options
  const until = performance.now() + sliceMs
  const { wholeAt, ...start } = options.walk ?? beginning()
  let { after, soon } = start
  let forgotten = 0
  while (!signal.aborted) {
    const look = await forgetTaken(db, intake, after, batch, retentionMs)
    forgotten += look.forgotten
    soon ??= look.soon
    after = look.upTo ?? after
    if (look.isLast) return { forgotten, isThrough: true, walk: nextWalk({ after, soon, wholeAt }) }
    if (performance.now() >= until) break
  }
  return { forgotten, isThrough: false, walk: { after, soon, wholeAt } }
}
