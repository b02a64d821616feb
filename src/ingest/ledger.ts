import type { Queryable } from '../db/pool.ts'
import { recordRun } from '../tables/pollRun.ts'
import type { PollRun } from '../tables/pollRun.ts'
import type { DuePass } from './tick.ts'

/** Writes what became of a due pass that began at this time, by the monotonic clock. Never throws. */
export type Ledger = (
  due: DuePass,
  startedAt: number,
  term: string,
  run: Partial<PollRun> & Pick<PollRun, 'outcome'>,
) => Promise<void>

/** The ledger of one poller's passes, as this instance writes it. */
export function ledgerOf(db: Queryable, poller: string, instanceId: string): Ledger {
  return async (due, startedAt, term, run) => {
    const startedMsAgo = performance.now() - startedAt
    const late = Date.now() - startedMsAgo - due.dueAt.getTime()
    await recordRun(db, {
      poller,
      rowsRead: 0,
      rowsInserted: 0,
      lateRows: 0,
      edge: null,
      error: null,
      term,
      instanceId,
      startedMsAgo,
      dueMsAgo: startedMsAgo + Math.max(0, late),
      ...run,
    }).catch(() => undefined) // the ledger is a record, not a fence: a pass stands without it
  }
}
