/**
 * Messages that wait for their next attempt wait for a time on the database's clock. When that steps back by an hour (NTP, a
 * machine that was resumed, a stand-by that was promoted), they would wait an hour more. Such a message's row was written
 * in what is the future now, which tells it from one that waits long on purpose; its wait begins anew, as long as it was.
 *
 * Anybody may do this at any time and again: whoever sees the step, and upkeep every minute.
 */
import type { Queryable } from '../db/pool.ts'
import { bringForward } from '../tables/retry.ts'
import type { Log } from '../telemetry/log.ts'

/** Clocks of one server differ by less, and a wait this much too long does no harm. */
const TOLERANCE_MS = 5_000
const BATCH = 1_000

export async function bringRetriesForward(db: Queryable, log: Log): Promise<void> {
  let messages = 0
  for (;;) {
    const brought = await bringForward(db, TOLERANCE_MS, BATCH)
    messages += brought
    if (brought < BATCH) break
  }
  if (messages === 0) return
  const msg = `${messages} messages waited by a clock that has stepped back since; they wait by the present one`
  log.event('clock_stepped', msg, { by_ms: null, messages })
}
