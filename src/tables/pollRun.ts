import { interval } from '../db/interval.ts'
import type { Queryable } from '../db/pool.ts'
import { loadStatements } from '../db/statements.ts'

const sql = loadStatements('poll_run', ['record', 'forget'])

export interface PollRun {
  readonly poller: string
  /** Milliseconds ago, by this process's monotonic clock; the ledger's times are the database's. */
  readonly dueMsAgo: number
  readonly startedMsAgo: number
  readonly outcome: 'ran' | 'late' | 'backstop' | 'coalesced' | 'missed' | 'fenced' | 'failed'
  readonly rowsRead: number
  readonly rowsInserted: number
  readonly lateRows: number
  readonly edge: string | null
  readonly term: string
  readonly instanceId: string
  readonly error: string | null
}

export async function recordRun(db: Queryable, run: PollRun): Promise<void> {
  await db.query(sql.record, [
    run.poller,
    run.dueMsAgo,
    run.startedMsAgo,
    run.outcome,
    run.rowsRead,
    run.rowsInserted,
    run.lateRows,
    run.edge,
    run.term,
    run.instanceId,
    run.error,
  ])
}

/** Deletes old runs, at most `limit`; returns how many. Each poller keeps the run that knows its edge. */
export async function forgetRuns(db: Queryable, afterMs: number, limit: number): Promise<number> {
  return (await db.query(sql.forget, [interval(afterMs), limit])).rowCount ?? 0
}
