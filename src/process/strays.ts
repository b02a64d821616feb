/**
 * Strays: messages that this instance has claimed without knowing it, because the answer of the claim was lost. Nobody
 * else would take them back while we live, so we look for them ourselves: `locked_by` is us, and no handler here has it.
 *
 * A claim whose connection broke may still be running in its backend and commit later, up to the statement limit. So the
 * looks go on for a while after the last such failure; between them lies enough time for a look to cost nothing.
 */
import type { Queryable } from '../db/pool.ts'
import { isConnectionError, sqlState } from '../db/sqlstate.ts'
import { giveBackStrays } from '../tables/inbox.ts'
import type { Log } from '../telemetry/log.ts'

export interface Strays {
  /** A claim failed; from now on there may be strays, unless the server refused it. */
  doubt(error: unknown): void
  /** Gives strays back when a look is due. Never while a claim is under way. `known` is what is in work here. */
  look(known: Iterable<{ readonly claim: { readonly inboxId: string } }>, settled: string): Promise<void>
}

/** Longer than any statement of ours may run (DB_STATEMENT_TIMEOUT_SECONDS is 30 by default). */
const DOUBT_MS = 60_000

const LOOK_EVERY_MS = 2_000

export function createStrays(
  db: Queryable,
  instanceId: string,
  sources: readonly string[],
  log: Log,
): Strays {
  let doubtUntil = 0
  let nextLookAt = 0
  return {
    doubt(error) {
      if (sqlState(error) !== undefined && !isConnectionError(error)) return
      doubtUntil = performance.now() + DOUBT_MS
      nextLookAt = 0
    },
    async look(known, settled) {
      const now = performance.now()
      if (now >= doubtUntil || now < nextLookAt) return
      const ids = Array.from(known, ({ claim }) => claim.inboxId)
      const messages = await giveBackStrays(db, instanceId, sources, settled, ids)
      nextLookAt = now + LOOK_EVERY_MS
      if (messages === 0) return
      const msg = `gave back ${messages} messages whose claim was made, and its answer lost`
      log.event('reclaimed_instance', msg, { dead_instance: instanceId, messages, reason: 'answer lost' })
    },
  }
}
