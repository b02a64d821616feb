import type { Message } from '../config/types.ts'
import type { Claim, ClaimedRow } from '../tables/inbox.ts'

/** A message that this process has claimed: in work until its outcome is settled. */
export interface InWork {
  readonly claim: Claim
  readonly message: Message
  /** Claimed ahead: its attempt counts when its handler has begun and runs on, or with its outcome. */
  readonly ahead: boolean
  /** The slot that it holds: how many of its key are in use with it, and the limit. */
  readonly slot?: { readonly inUse: number; readonly max: number | null } | undefined
  /** Interruptions since its handler last ended by itself, drains left out. */
  readonly interruptionsInARow: number
  /** Age when it was claimed, by the database's clock: since the source row, or since it was taken in. */
  readonly ageMs: number
  /** By the monotonic clock. */
  readonly claimedAt: number
}

export function toInWork(row: ClaimedRow, ahead = false): InWork {
  return {
    claim: { inboxId: row.inbox_id, claim: row.claim },
    message: {
      inboxId: row.inbox_id,
      source: row.source,
      messageId: row.message_id,
      payload: row.payload,
      groupKey: row.group_key,
      attempts: row.attempts,
      maxAttempts: row.max_attempts,
      traceId: row.trace_id,
      sourceCreatedAt: row.source_created_at,
    },
    ahead,
    slot: row.in_use == null ? undefined : { inUse: row.in_use, max: row.most ?? null },
    interruptionsInARow: row.interruptions_in_a_row,
    ageMs: Number(row.age_ms),
    claimedAt: performance.now(),
  }
}
