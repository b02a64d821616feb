import type { Pool } from '../db/pool.ts'
import { claimJob, forgetSettled } from './claimRows.ts'
import type { Attempt } from './jobRows.ts'

/*
 * Claims: which attempts at jobs this instance runs, in `service_ops.job_claim`, for the others to see.
 *
 *   fetched ──claim──▶ handler ──▶ pg-boss settles the attempt ──▶ claim forgotten
 *                └─ no row: given back meanwhile, the handler does not begin
 *
 * A claim is written, and durable, before the handler begins, and so is the fetch before it (planned.ts). It is
 * forgotten only when the attempt is not active any more: one forgotten sooner would make the attempt look as if nobody had it.
 * So it is forgotten a moment later, many at once; what a claim of a settled attempt leads to meets the fence of the attempt,
 * and does nothing.
 */
export interface Claims {
  /** Before the handler begins. False: the attempt is not ours any more. */
  claim(attempt: Attempt): Promise<boolean>
  /** The handler has ended; pg-boss is about to settle the attempt. */
  ended(attempt: Attempt): void
  /** Forgets what is settled by now. */
  close(): Promise<void>
}

/** How often settled attempts are forgotten while there are some, in ms. */
const FORGET_EVERY_MS = 1_000

export function createClaims(pool: Pool, instanceId: string): Claims {
  let ended: Attempt[] = []
  let timer: NodeJS.Timeout | undefined
  let closed = false

  async function forget(): Promise<void> {
    timer = undefined
    const batch = ended
    ended = []
    if (batch.length === 0) return
    // What could not be asked is asked again; at the end it is left to the others' upkeep.
    const left = await forgetSettled(pool, batch, instanceId).catch(() => batch)
    ended.push(...left)
    if (ended.length > 0 && !closed) later()
  }

  function later(): void {
    timer ??= setTimeout(() => void forget(), FORGET_EVERY_MS).unref()
  }

  return {
    claim: (attempt) => claimJob(pool, attempt, instanceId),
    ended(attempt) {
      ended.push(attempt)
      if (!closed) later()
    },
    async close() {
      closed = true
      clearTimeout(timer)
      await forget()
    },
  }
}
