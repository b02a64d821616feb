import type { Queryable } from '../db/pool.ts'
import { forgetOrphans } from '../tables/attempt.ts'
import { SLICE_MS } from './retention.ts'

/** Attempts looked at in one statement: milliseconds each. */
const BATCH = 5_000

/**
 * Forgets what was told of messages that are gone. Retention does so itself; a release from before `message_attempt`, which runs
 * beside this one during a deploy or for as long as somebody went back to it, leaves it behind. All is looked at in turn, since
 * one message that stays for good (DEAD, say) keeps those that were forgotten after it from being the lowest.
 */
export async function forgetOrphanedAttempts(options: {
  readonly db: Queryable
  /** Where the slice before ended. Default: at the beginning. */
  readonly after?: string
  readonly signal: AbortSignal
  /** How long to go on at once, in milliseconds. Default: 20 s. */
  readonly sliceMs?: number
  readonly batch?: number
}): Promise<{ readonly forgotten: number; readonly isThrough: boolean; readonly after: string }> {
  const { db, signal, sliceMs = SLICE_MS, batch = BATCH } = options
  const until = performance.now() + sliceMs
  let after = options.after ?? '0'
  let forgotten = 0
  while (!signal.aborted) {
    const look = await forgetOrphans(db, after, batch)
    forgotten += look.forgotten
    if (look.upTo === null) return { forgotten, isThrough: true, after: '0' }
    after = look.upTo
    if (performance.now() >= until) break
  }
  return { forgotten, isThrough: false, after }
}
