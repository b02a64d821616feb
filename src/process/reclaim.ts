import type { Queryable } from '../db/pool.ts'
import { errorClass } from '../db/sqlstate.ts'
import { endTransactions } from '../tables/instance.ts'
import { hasWork, lostOwners, reclaim } from '../tables/inbox.ts'
import type { Reclaimed } from '../tables/inbox.ts'
import type { Log } from '../telemetry/log.ts'

/** One statement's worth, so that no lock is held for long. */
const BATCH = 1_000

/**
 * Takes back what a dead or frozen instance had in work. Anybody may do this at any time and again: rows that somebody
 * else is taking back are skipped, and the claim number fences what the owner still writes. True: nothing is left.
 *
 * A frozen owner's sessions are ended first: the open transaction of a transactional handler holds its message's row, and
 * would hold it for as long as the process stands still. A dead one's sessions end with it, but for a statement that was
 * running or a host that vanished: they are ended when something is left. What backends have not let go of yet is skipped
 * now and taken back at the next look, a heartbeat later.
 */
export async function reclaimFrom(
  db: Queryable,
  instanceId: string,
  state: 'dead' | 'frozen',
  log: Log,
): Promise<boolean> {
  if (state === 'frozen') await endSessions(db, instanceId)
  let messages = 0
  for (;;) {
    const taken = await reclaim(db, instanceId, BATCH, state === 'frozen')
    messages += taken.length
    for (const one of taken) {
      if (one.had_slot) sayReleased(one, log)
      if (one.status !== 'DEAD') continue
      sayDead(one, log)
    }
    if (taken.length < BATCH) break
  }
  if (messages > 0) {
    const msg = `took back ${messages} messages of ${instanceId}, which is ${state}`
    log.event('reclaimed_instance', msg, { dead_instance: instanceId, messages, reason: state })
  }
  const isWhole = !(await hasWork(db, instanceId))
  if (!isWhole && state === 'dead') await endSessions(db, instanceId)
  return isWhole
}

/** Its open transactions lock the rows of their messages. A role that may not end them waits for their own limits. */
async function endSessions(db: Queryable, instanceId: string): Promise<void> {
  try {
    await endTransactions(db, `tidemark:${instanceId}`)
  } catch (error) {
    if (errorClass(error) !== 'permission') throw error
  }
}

function sayReleased(one: Reclaimed, log: Log): void {
  const msg = `${one.source}: ${one.message_id} has given its slot of ${one.group_key ?? ''} back: it was taken back itself`
  log.event('slot_released', msg, {
    source: one.source,
    message_id: one.message_id,
    group_key: one.group_key,
    trace_id: one.trace_id,
    reason: 'reclaimed',
  })
}

function sayDead(one: Reclaimed, log: Log): void {
  const [errorClass = '', text = ''] = one.last_error.split(/: (.*)/s)
  const msg = `${one.source}: ${one.message_id} is DEAD after attempt ${one.attempts} of ${one.max_attempts}: ${text}`
  log.event('message_dead', msg, {
    source: one.source,
    message_id: one.message_id,
    group_key: one.group_key,
    attempt: one.attempts,
    trace_id: one.trace_id,
    class: errorClass,
    text,
  })
}

/** The look at start: owners of messages that have no living record are dead. */
export async function reclaimFromLost(db: Queryable, log: Log): Promise<void> {
  for (const owner of await lostOwners(db)) await reclaimFrom(db, owner, 'dead', log)
}
