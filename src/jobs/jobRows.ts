import type { Queryable } from '../db/pool.ts'
import { loadStatements } from '../db/statements.ts'

const sql = loadStatements('boss', [
  'schema_version',
  'schema_is_there',
  'may_maintain',
  'give_back',
  'unfinished',
  'bring_forward',
  'forget_schedules',
  'poller_known',
  'wake_leader',
  'pass_since',
])

/** One attempt at a job: what fences every write about it. */
export interface Attempt {
  readonly queue: string
  readonly id: string
  readonly retryCount: number
}

/** Version of pg-boss's schema. Throws 42P01 or 3F000 when it was never installed. */
export async function selectSchemaVersion(db: Queryable): Promise<number | null> {
  const { rows } = await db.query<{ version: number }>(sql.schema_version)
  return rows[0]?.version ?? null
}

export async function schemaIsThere(db: Queryable): Promise<boolean> {
  return (await db.query<{ there: boolean }>(sql.schema_is_there)).rows[0]?.there === true
}

/** Whether this role may make tables of pg-boss's and rebuild its indexes; false where pg-boss is not installed. */
export async function mayMaintain(db: Queryable): Promise<boolean> {
  return (await db.query<{ may: boolean }>(sql.may_maintain)).rows[0]?.may === true
}

/**
 * Gives an attempt back, unburned. `created`: queued again; `cancelled`: another was queued already, this one is
 * not needed; `lost`: the attempt was no longer ours.
 */
export async function giveBack(db: Queryable, attempt: Attempt): Promise<'created' | 'cancelled' | 'lost'> {
  const values = [attempt.queue, attempt.id, attempt.retryCount]
  const run = async (): Promise<'created' | 'cancelled' | 'lost'> => {
    const { rows } = await db.query<{ state: 'created' | 'cancelled' }>(sql.give_back, values)
    return rows[0]?.state ?? 'lost'
  }
  try {
    return await run()
  } catch (error) {
    // Another job was queued between the look and the write; the second look sees it.
    if (error instanceof Error && 'code' in error && error.code === '23505') return run()
    throw error
  }
}

export interface UnfinishedJob {
  readonly id: string
  readonly state: 'created' | 'retry' | 'active'
  readonly retryCount: number
  readonly startAfter: Date
}

/** What is queued or active in a queue, by the database's clock. */
export async function selectUnfinished(
  db: Queryable,
  queue: string,
): Promise<{ now: Date; jobs: UnfinishedJob[] }> {
  // The LEFT JOIN gives one row of NULLs for an empty queue, so that the time is always there.
  const { rows } = await db.query<{ now: Date } & (UnfinishedJob | { id: null })>(sql.unfinished, [queue])
  return { now: rows[0]?.now ?? new Date(), jobs: rows.filter((row) => row.id !== null) }
}

/** Makes the queued job (with a key, the one of that key) due now, or at `to`; false when none is queued. */
export async function bringForward(
  db: Queryable,
  queue: string,
  { key = null, to = null }: { readonly key?: string | null; readonly to?: Date | null } = {},
): Promise<boolean> {
  const { rowCount } = await db.query(sql.bring_forward, [queue, key, to])
  return (rowCount ?? 0) > 0
}

/** Forgets the schedules of jobs that no instance has any more, nor this config, whose queues are given; returns theirs. */
export async function forgetSchedules(db: Queryable, queues: readonly string[]): Promise<string[]> {
  return (await db.query<{ name: string }>(sql.forget_schedules, [queues])).rows.map(({ name }) => name)
}

export interface PollerLook {
  /** It is registered. */
  readonly known: boolean
  readonly paused: boolean
  readonly paused_by: string | null
  /** The database's time as text with microseconds. */
  readonly now: string
}

export async function lookAtPoller(db: Queryable, poller: string): Promise<PollerLook> {
  const { rows } = await db.query<PollerLook & Record<string, unknown>>(sql.poller_known, [poller])
  return rows[0] ?? { known: false, paused: false, paused_by: null, now: 'now' }
}

export async function notifyLeader(db: Queryable, poller: string): Promise<void> {
  await db.query(sql.wake_leader, [poller])
}

/** One finished pass, counts as the ledger has them. */
export interface PassRow {
  readonly outcome: 'ran' | 'late' | 'backstop' | 'failed'
  readonly rowsRead: number
  readonly rowsInserted: number
  readonly lateRows: number
  readonly error: string | null
}

export async function selectPassSince(
  db: Queryable,
  poller: string,
  since: string,
): Promise<PassRow | undefined> {
  type Row = Omit<PassRow, 'rowsRead' | 'rowsInserted' | 'lateRows'> &
    Record<'rowsRead' | 'rowsInserted' | 'lateRows', string>
  const { rows } = await db.query<Row>(sql.pass_since, [poller, since])
  const [row] = rows
  if (row === undefined) return undefined
  return {
    outcome: row.outcome,
    rowsRead: Number(row.rowsRead),
    rowsInserted: Number(row.rowsInserted),
    lateRows: Number(row.lateRows),
    error: row.error,
  }
}
