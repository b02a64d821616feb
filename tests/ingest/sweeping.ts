import type { Queryable } from '../../src/db/pool.ts'
import { beginSweep } from '../../src/tables/sweep.ts'
import type { SweepTurn } from '../../src/tables/sweep.ts'
import { sweep } from '../../src/ingest/sweep.ts'
import type { SweepEnd, SweepOptions } from '../../src/ingest/sweep.ts'
import type { PreparedSource } from '../../src/ingest/sourceSql.ts'
import { forgetFinished } from '../../src/process/retention.ts'
import type { RetentionSlice } from '../../src/process/retention.ts'
import { raiseForgotten } from '../../src/tables/retention.ts'
import { recordedLog } from '../db/recordedLog.ts'
import type { RecordedLog } from '../db/recordedLog.ts'
import { until } from '../support/until.ts'
import { POLLER } from './fixture.ts'
import type { Intake } from './fixture.ts'

export interface Sweeper {
  readonly log: RecordedLog
  readonly sweep: (options?: Partial<SweepOptions>) => Promise<SweepEnd>
}

export function sweeperOf(intake: Intake, source: PreparedSource): Sweeper {
  const log = recordedLog()
  return {
    log,
    sweep: (options = {}) =>
      sweep({
        db: intake.program,
        name: POLLER,
        source,
        pageSize: 2,
        maxAttempts: 3,
        log,
        signal: new AbortController().signal,
        onInserted: () => undefined,
        ...options,
      }),
  }
}

/** Begins the sweep of a poller that is not paused. */
export async function begunSweep(db: Queryable, canBeUndated = false): Promise<SweepTurn> {
  const begun = await beginSweep(db, POLLER, canBeUndated)
  if (begun === undefined) throw new Error('the poller is paused')
  return begun
}

/** Every message so far was taken in and processed a month ago. */
export async function finishAll({ pool }: Pick<Intake, 'pool'>): Promise<void> {
  await pool.query(
    `UPDATE service_ops.integration_inbox
        SET status = 'DONE', processed_at = now() - interval '30 days', created_at = now() - interval '30 days' WHERE status = 'NEW'`,
  )
}

/** Both steps of retention. */
export function forget({ pool }: Pick<Intake, 'pool'>, retentionMs = 1_000): Promise<RetentionSlice> {
  const { signal } = new AbortController()
  return forgetFinished({ db: pool, name: POLLER, retentionMs, signal })
}

/** The first step alone, for a message of yesterday. */
export async function raise(db: Queryable): Promise<boolean> {
  const { rows } = await db.query<{ id: string }>(
    `INSERT INTO service_ops.integration_inbox (source, message_id, trace_id, source_created_at, status, processed_at)
     SELECT $1, gen_random_uuid()::text, 't', at, 'DONE', at FROM (SELECT now() - interval '1 day' AS at) a RETURNING inbox_id AS id`,
    [POLLER],
  )
  return raiseForgotten(
    db,
    POLLER,
    rows.map(({ id }) => id),
  )
}

/** Puts the edge there (SQL) without a pass, and the candidate that a pass would have left. */
export async function setEdge(intake: Intake, edge: string): Promise<void> {
  await intake.pool.query(
    `INSERT INTO service_ops.poll_candidate (poller, cand_ts, cand_vx, cand_boot)
     VALUES ($1, now(), '{}', pg_postmaster_start_time()) ON CONFLICT DO NOTHING`,
    [POLLER],
  )
  await intake.pool.query(`UPDATE service_ops.integration_poll_watermark SET edge = ${edge}`)
}

/** So many sessions of the database wait for a lock. */
export async function untilWaiting(intake: Intake, sessions = 1): Promise<void> {
  await until(`${sessions} waiting for a lock`, async () => {
    const { rows } = await intake.pool.query<{ n: number }>(
      `SELECT count(*)::integer AS n FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
    )
    return rows[0]?.n === sessions
  })
}
