import type { Queryable } from '../db/pool.ts'
import { loadStatements } from '../db/statements.ts'

const sql = loadStatements('dashboard_jobs', ['jobs', 'dead'])

/** A run of a job that has ended. Times are ISO 8601 text. */
export interface JobRun {
  readonly id: string
  readonly state: 'completed' | 'cancelled' | 'failed'
  readonly retry_count: number
  readonly started_on: string | null
  readonly completed_on: string
  readonly took_ms: number | null
  readonly error: string | null
}

/** A job of some instance's config, as pg-boss has it. */
export interface JobOverview {
  readonly job: string
  readonly paused: boolean
  readonly paused_by: string | null
  readonly orphaned: boolean
  readonly instances: readonly string[]
  /** Cron expression or rule; null: it runs when it is sent. */
  readonly schedule: string | null
  readonly timezone: string | null
  /** When the next one that is queued is due. */
  readonly next_at: string | null
  readonly queued: number
  readonly active: number
  readonly retrying: number
  /** The newest first. */
  readonly runs: readonly JobRun[]
}

/** A job that failed for good. */
export interface DeadJob {
  readonly id: string
  /** The queue that it came from. */
  readonly source_name: string | null
  readonly created_on: string
  readonly source_retry_count: number | null
  readonly error: string | null
}

/** Every job with its newest `runs`. Throws 3F000 or 42P01 where pg-boss was never installed. */
export async function jobOverview(db: Queryable, runs: number): Promise<readonly JobOverview[]> {
  return (await db.query<{ jobs: JobOverview[] }>(sql.jobs, [runs])).rows[0]?.jobs ?? []
}

/** The newest jobs that failed for good, `limit` at most. */
export async function deadJobs(db: Queryable, limit: number): Promise<readonly DeadJob[]> {
  return (await db.query<{ dead: DeadJob[] }>(sql.dead, [limit])).rows[0]?.dead ?? []
}
