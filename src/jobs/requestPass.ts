import { PassNotMade, PollerPaused, PollerUnknown } from '../errors.ts'
import type { Pool } from '../db/pool.ts'
import { pause } from '../kit/pause.ts'
import { bringForward, lookAtPoller, notifyLeader, selectPassSince, type PassRow } from './jobRows.ts'
import { pollQueue } from './jobTick.ts'
import { unstartedBoss } from './unstarted.ts'

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
 * @throws PollerUnknown; PollerPaused, also when it is paused meanwhile; PassNotMade when none ended in time, because
 * nobody leads it, say
 */
export async function requestPass(
  pool: Pool,
  poller: string,
  options: { readonly timeoutMs?: number; readonly signal?: AbortSignal } = {},
): Promise<PassRow> {
  const { timeoutMs = 30_000, signal } = options
  const now = await requirePollable(pool, poller)
  const deadline = performance.now() + timeoutMs
  let askAt = performance.now()
  while (signal?.aborted !== true) {
    if (performance.now() >= askAt) {
      await askForPass(pool, poller)
      askAt = performance.now() + ASK_EVERY_MS
    }
    const pass = await selectPassSince(pool, poller, now)
    if (pass !== undefined) return pass
    if (performance.now() >= deadline) break
    await pause(LOOK_EVERY_MS, signal)
  }
  throw new PassNotMade(poller, timeoutMs)
}

/**
 * Asks for a pass and waits for nothing.
 * @throws PollerUnknown, PollerPaused
 */
export async function askForPass(pool: Pool, poller: string): Promise<void> {
  await requirePollable(pool, poller)
  await makeDue(pool, pollQueue(poller))
  await notifyLeader(pool, poller)
}

/**
 * The database's time, at which this poller may make a pass.
 * @throws PollerUnknown, PollerPaused
 */
export async function requirePollable(pool: Pool, poller: string): Promise<string> {
  const { known, paused, paused_by: by, now } = await lookAtPoller(pool, poller)
  if (!known) throw new PollerUnknown(poller)
  if (paused) throw new PollerPaused(poller, by)
  return now
}

async function makeDue(pool: Pool, queue: string): Promise<void> {
  if (await bringForward(pool, queue)) return
  const pg = unstartedBoss(pool)
  // Without a queue the poller was never led with an interval of 10 s or more: the NOTIFY alone will do.
  if ((await pg.getQueue(queue)) !== null) await pg.send(queue)
}
