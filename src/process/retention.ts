/**
 * Retention: what is finished is forgotten after a while, in two steps, so that it is never taken in again. Both are done
 * for a batch of messages at a time, found by walking the primary key (an index on status would make every claim cost more,
 * sql/migrations/3): those that are DONE, written and finished longer ago than the retention, and a second below the edge.
 *
 * 1. *Say it.* `forgotten_before` of the poller is raised to just above the newest of them. It only grows, also when the
 *    retention does.
 * 2. *Do it.* They are deleted, where they are below it.
 *
 * Between the two everybody knows: ingest/sweep.ts has the proof that nobody takes a forgotten row in again. The database
 * owns the truth; this process keeps only where its walk is. The next one begins at the first message that may be forgotten
 * soon, so that neither those of other pollers nor those that stay are walked each time; once a day one is from the beginning.
 *
 * - *The clock was ahead for a moment*: messages were forgotten too early. The bound is above them and no further, so what is
 *   written when the clock is right again is not below it. `now − retention` could be, and would shut it out for ever.
 * - *A release from before retention leads the poller* (a deploy, or back from one): its pages know no bound. Passes read
 *   again what was written lately, so rows are kept for that long (`rereadMs`), however short the retention.
 * - *Two instances have different retentions* (two releases): whichever runs decides, so the shorter one wins.
 * - *Step 2 never comes* (the process dies): more is called forgotten than is deleted; the next run deletes it.
 * - *A page that takes rows in is under way*: it keeps the bound where it is. Nobody waits for it here; the batch comes again.
 * - *The watermark's row is missing, or its edge stays* (a long transaction): nothing more is forgotten until it is back.
 * - *What never ends stays*: messages that are DEAD or open, those a person discarded, those without a source time, and the
 *   newest message of all, by which lowWater.ts knows that no numbers were lost.
 */
import type { Queryable } from '../db/pool.ts'
import { forgetMessages, lookForForgettable, raiseForgotten } from '../tables/retention.ts'

export interface RetentionOptions {
  readonly db: Queryable
  /** The poller whose messages are forgotten. */
  readonly name: string
  readonly retentionMs: number
  /** Rows written less long ago stay, since passes read them again. Default: 0. */
  readonly rereadMs?: number
  /** What the slice before returned. Default: a walk from the beginning. */
  readonly walk?: Walk
  readonly signal: AbortSignal
  /** How long to go on at once, in milliseconds. Default: 20 s. */
  readonly sliceMs?: number
  /** Messages looked at in one statement. Default: 2,000. */
  readonly batch?: number
}

/** Where a walk is, and where the next one begins. */
export interface Walk {
  /** It goes on after this message. */
  readonly after: string
  /** The next one begins before this message, the first that this one left and that may be forgotten soon. */
  readonly soon: string | null
  /** When the last walk from the beginning began, by `performance.now()`. */
  readonly wholeAt: number
}

export interface RetentionSlice {
  readonly forgotten: number
  /** The walk is at its end. */
  readonly isThrough: boolean
  readonly walk: Walk
}

/** Milliseconds of work each; handlers that claim meanwhile wait for nothing, since locked rows are passed over. */
export const BATCH = 2_000
export const SLICE_MS = 20_000

/** What a walk passes by for good is looked at again so often: a message that was DEAD and is put back, say. */
const WHOLE_EVERY_MS = 86_400_000

/** Forgets for one slice of time, or until a page that is under way keeps it from that. */
export async function forgetFinished(options: RetentionOptions): Promise<RetentionSlice> {
  const { db, name, retentionMs, rereadMs = 0, signal, sliceMs = SLICE_MS, batch = BATCH } = options
  const until = performance.now() + sliceMs
  const { wholeAt, ...start } = options.walk ?? beginning()
  let { after, soon } = start
  let forgotten = 0
  while (!signal.aborted) {
    const look = await lookForForgettable(db, name, after, batch, retentionMs, rereadMs)
    if (look.isHigher && !(await raiseForgotten(db, name, look.old))) break
    let { soon: left } = look
    if (look.old.length > 0) {
      const done = await forgetMessages(db, name, look.old, retentionMs)
      forgotten += done.forgotten
      left = first(left, done.leftOver)
    }
    soon ??= left
    after = look.upTo ?? after
    if (look.isLast) return { forgotten, isThrough: true, walk: nextWalk({ after, soon, wholeAt }) }
    if (performance.now() >= until) break
  }
  return { forgotten, isThrough: false, walk: { after, soon, wholeAt } }
}

/** A walk over all messages. */
export function beginning(): Walk {
  return { after: '0', soon: null, wholeAt: performance.now() }
}

/** The walk after one that is through. */
export function nextWalk({ after, soon, wholeAt }: Walk): Walk {
  if (performance.now() - wholeAt >= WHOLE_EVERY_MS) return beginning()
  return { after: soon === null ? after : String(BigInt(soon) - 1n), soon: null, wholeAt }
}

function first(one: string | null, other: string | null): string | null {
  if (one === null || other === null) return one ?? other
  return BigInt(one) < BigInt(other) ? one : other
}
