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
export function ledgerOf(
  db: Queryable,
  poller: string,
  instanceId: string,
  onRun: (outcome: PollRun['outcome']) => void = () => undefined,
): Ledger {
  return async (due, startedAt, term, run) => {
    onRun(run.outcome)
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

/** A row that stands before another's: times reach the ledger by way of the network, and jitter with it, in milliseconds. */
const BEFORE_MS = 1_000

/** Due times that no pass of their own was made for. Their row stands before that of the pass that stands for them. */
export async function recordPassed(
  record: Ledger,
  due: DuePass,
  startedAt: number,
  term: string,
): Promise<void> {
  const times = (count: number): string => (count === 1 ? '1 due time' : `${count} due times`)
  for (const [outcome, count, why] of [
    [
      'missed',
      due.missed ?? 0,
      'went by without a leader that made its pass; the one after it makes up for all',
    ],
    ['coalesced', due.coalesced?.() ?? 0, 'came while a pass was under way, which stands for all'],
  ] as const)
    if (count > 0)
      await record(due, startedAt - BEFORE_MS, term, { outcome, error: `${times(count)} ${why}` })
}
