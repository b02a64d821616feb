/**
 * Retention: what is finished is forgotten after a while, in two steps, so that it is never taken in again.
 *
 * 1. *Say it.* `forgotten_before` of the poller is raised to `now − retention`, or to a second below the edge where that is
 *    earlier: what is not proven to be in the inbox cannot be forgotten. It only grows, also when the retention does.
 * 2. *Do it.* Messages that are DONE, older than that, and finished longer ago than the retention are deleted, in batches
 *    found by walking the primary key (an index on status would make every claim cost more, sql/migrations/3).
 *
 * Between the two everybody knows: ingest/sweep.ts has the proof that nobody takes a forgotten row in again. The database
 * owns the truth; this process keeps only where its walk is, and a walk that is broken off begins anew.
 *
 * - *Two instances have different retentions* (two releases): whichever runs decides, so the shorter one wins.
 * - *Step 2 never comes* (the process dies): more is called forgotten than is deleted; the next run deletes it.
 * - *The watermark's row is missing, or its edge stays* (a long transaction): nothing more is forgotten until it is back.
 * - *What never ends stays*: messages that are DEAD or open, those a person discarded, those without a source time, and the
 *   newest message of all, by which lowWater.ts knows that no numbers were lost.
 */
import type { Queryable } from '../db/pool.ts'
import { forgetMessages, raiseForgotten } from '../tables/retention.ts'

export interface RetentionOptions {
  readonly db: Queryable
  /** The poller whose messages are forgotten. */
  readonly name: string
  readonly retentionMs: number
  /** Where the walk of an earlier slice ended. */
  readonly after?: string
  readonly signal: AbortSignal
  /** How long to go on at once, in milliseconds. Default: 20 s. */
  readonly sliceMs?: number
  /** Messages looked at in one statement. Default: 2,000. */
  readonly batch?: number
}

export interface RetentionSlice {
  readonly forgotten: number
  /** Where to go on; undefined: the walk is at its end. */
  readonly after: string | undefined
}

/** Milliseconds of work each; handlers that claim meanwhile wait for nothing, since locked rows are passed over. */
const BATCH = 2_000
const SLICE_MS = 20_000

/** Raises what may be forgotten and deletes for one slice of time. */
export async function forgetFinished(options: RetentionOptions): Promise<RetentionSlice> {
  const { db, name, retentionMs, signal, sliceMs = SLICE_MS, batch = BATCH } = options
  const until = performance.now() + sliceMs
  await raiseForgotten(db, name, retentionMs)
  let after = options.after ?? '0'
  let forgotten = 0
  while (!signal.aborted) {
    const done = await forgetMessages(db, name, after, batch, retentionMs)
    forgotten += done.forgotten
    if (done.isLast || done.upTo === null) return { forgotten, after: undefined }
    after = done.upTo
    if (performance.now() >= until) break
  }
  return { forgotten, after }
}
