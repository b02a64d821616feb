import type { Queryable } from '../db/pool.ts'
import { endTransactions } from '../tables/instance.ts'
import { hasWork, lostOwners, reclaim } from '../tables/inbox.ts'
import type { Log } from '../telemetry/log.ts'

/** One statement's worth, so that no lock is held for long. */
const BATCH = 1_000

/**
 * Takes back what a dead or frozen instance had in work. Anybody may do this at any time and again: rows that somebody
 * else is taking back are skipped, and the claim number fences what the owner still writes. True: nothing is left.
 *
 * A frozen owner's sessions are ended first: the open transaction of a transactional handler holds its message's row, and
 * would hold it for as long as the process stands still. What its backends have not let go of yet is skipped now and
 * taken back at the next look, a heartbeat later.
 */
export async function reclaimFrom(
  db: Queryable,
  instanceId: string,
  state: 'dead' | 'frozen',
  log: Log,
): Promise<boolean> {
  // Its open transactions lock the rows of their messages; what SKIP LOCKED passes over now, the next beat takes.
  if (state === 'frozen') await endTransactions(db, `tidemark:${instanceId}`)
  let messages = 0
  for (;;) {
    const taken = await reclaim(db, instanceId, BATCH, state === 'frozen')
    messages += taken
    if (taken < BATCH) break
  }
  if (messages > 0) {
    const msg = `took back ${messages} messages of ${instanceId}, which is ${state}`
    log.event('reclaimed_instance', msg, { dead_instance: instanceId, messages, reason: state })
  }
  return !(await hasWork(db, instanceId))
}

/** The look at start: owners of messages that have no living record are dead. */
export async function reclaimFromLost(db: Queryable, log: Log): Promise<void> {
  for (const owner of await lostOwners(db)) await reclaimFrom(db, owner, 'dead', log)
}
