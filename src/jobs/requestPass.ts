import { PgBoss } from 'pg-boss'
import { PassNotMade, PollerUnknown } from '../errors.ts'
import type { Pool } from '../db/pool.ts'
import { pause } from '../kit/pause.ts'
import { createBossDatabase } from './database.ts'
import { bringForward, notifyLeader, selectPassSince, selectPollerKnown, type PassRow } from './jobRows.ts'
import { pollQueue } from './jobTick.ts'
import { BOSS_SCHEMA } from './schema.ts'

/** How often the ledger is looked at, in ms. */
const LOOK_EVERY_MS = 50

/** How often it is asked again, in ms: who begins to lead at this moment may have looked, and not yet have heard. */
const ASK_EVERY_MS = 3_000

/**
 * Asks whoever leads a poller for a pass now and waits for it; works from any process and starts nothing.
 *
 * The queued job is made due (or one is queued, when a pass is under way), and a NOTIFY makes the leader look at
 * once. Pollers under 10 s have no queue: they hear the NOTIFY alone. The answer is the ledger's row of the first
 * pass that *began* after the request, so rows committed before it are in. Waits up to `timeoutMs` (default 30 s).
 *
 * @throws PollerUnknown; PassNotMade when none ended in time, because nobody leads it, say, or it is paused
 */
export async function requestPass(
  pool: Pool,
  poller: string,
  options: { readonly timeoutMs?: number; readonly signal?: AbortSignal } = {},
): Promise<PassRow> {
  const { timeoutMs = 30_000, signal } = options
  const { known, now } = await selectPollerKnown(pool, poller)
  if (!known) throw new PollerUnknown(poller)
  const deadline = performance.now() + timeoutMs
  let askAt = performance.now()
  while (signal?.aborted !== true) {
    if (performance.now() >= askAt) {
      await makeDue(pool, pollQueue(poller))
      await notifyLeader(pool, poller)
      askAt = performance.now() + ASK_EVERY_MS
    }
    const pass = await selectPassSince(pool, poller, now)
    if (pass !== undefined) return pass
    if (performance.now() >= deadline) break
    await pause(LOOK_EVERY_MS, signal)
  }
  throw new PassNotMade(poller, timeoutMs)
}

async function makeDue(pool: Pool, queue: string): Promise<void> {
  if (await bringForward(pool, queue)) return
  // Never started: it only writes the one row, as pg-boss writes it.
  const pg = new PgBoss({
    db: createBossDatabase(pool),
    schema: BOSS_SCHEMA,
    supervise: false,
    schedule: false,
  })
  pg.on('error', () => undefined)
  // Without a queue the poller was never led with an interval of 10 s or more: the NOTIFY alone will do.
  if ((await pg.getQueue(queue)) !== null) await pg.send(queue)
}
