import { interval } from '../db/interval.ts'
import type { Queryable } from '../db/pool.ts'
import { loadStatements } from '../db/statements.ts'
import { SUMMED, toPoints } from './history/points.ts'
import type { HistoryPoint, StoredStep } from './history/points.ts'
import { readSteps, storedLength } from './history/steps.ts'
import { LOOK_WITHOUT_MARK } from './lowWater.ts'

const sql = loadStatements('history', ['clock', 'add', 'sample', 'forget', 'read', 'leader_changes'])

export type { HistoryPoint } from './history/points.ts'
export { forgetSteps, ROLL_UP_EVERY_MS, rollUpHistory } from './history/steps.ts'

/** What was counted of one thing: a row of `history_minute` without its minute. */
export interface Counted {
  readonly name: string
  readonly key: string
  readonly value: number
}

/** What one instance counted in one minute. */
export interface CountedMinute {
  /** ISO 8601: the beginning of the minute, by the database's clock. */
  readonly at: string
  /** Of the instance's batches, which it writes in their order; its own again after an answer that was lost. */
  readonly number: number
  readonly counted: readonly Counted[]
}

interface Clock extends Record<string, unknown> {
  readonly now_ms: number
}

function clockOf(rows: readonly Clock[]): number {
  const [row] = rows
  if (row === undefined) throw new Error('a SELECT without FROM gave no row')
  return row.now_ms
}

/** The database's clock, in milliseconds since 1970. */
export async function databaseClock(db: Queryable): Promise<number> {
  return clockOf((await db.query<Clock>(sql.clock)).rows)
}

/** Adds to the history what an instance counted, once, however often it is told; resolves to the database's clock. */
export async function addCounted(
  db: Queryable,
  instanceId: string,
  { at, number, counted }: CountedMinute,
): Promise<number> {
  const values = [
    at,
    instanceId,
    number,
    counted.map(({ name }) => name),
    counted.map(({ key }) => key),
    counted.map(({ value }) => value),
  ]
  return clockOf((await db.query<Clock>(sql.add, values)).rows)
}

/**
 * Writes what is so at this moment, for this minute: backlog, lag, instances. Resolves to the database's clock.
 * @param look messages that are looked at for a source without a mark
 */
export async function sampleHistory(db: Queryable, look = LOOK_WITHOUT_MARK): Promise<number> {
  return clockOf((await db.query<Clock>(sql.sample, [look])).rows)
}

/** Deletes what is older than that, in milliseconds; returns how many rows. */
export async function forgetHistory(db: Queryable, afterMs: number): Promise<number> {
  return (await db.query(sql.forget, [interval(afterMs)])).rowCount ?? 0
}

/** A stretch of time: from then on, and before then. ISO 8601 text with its zone, or a Date. */
export interface Stretch {
  readonly from: string | Date
  readonly to: string | Date
}

/**
 * The history of a stretch, in steps of so many minutes that begin at multiples of their length; the first one is whole. Steps of
 * ten minutes or an hour, or a multiple, are read from what is rolled up already.
 *
 * - `ingested`, `done`, `failed`, `dead`, `interrupted` (by source) and `late_rows` (by poller): how many in each step.
 * - `latency_p50`, `latency_p95`, `latency_p99`, and `handler_…`: seconds, by source, where messages were done.
 * - `backlog` (by `source STATUS`), `oldest_seconds` (by source), `lag_seconds`, `edge_lag_seconds` (by poller), `instances` (by
 *   state): the greatest value of a step, so that a short trouble shows in a week as well.
 *
 * A step without a point of a series that has others is one of which nothing is known: no instance lived to tell.
 */
export async function readHistory(
  db: Queryable,
  { from, to, stepMinutes }: Stretch & { readonly stepMinutes: number },
): Promise<HistoryPoint[]> {
  const stretch = { from: isoOf(from), to: isoOf(to), stepMinutes: Math.max(1, Math.round(stepMinutes)) }
  const storedMinutes = storedLength(stretch.stepMinutes)
  if (storedMinutes !== undefined) return toPoints(await readSteps(db, { ...stretch, storedMinutes }))
  const values = [stretch.from, stretch.to, stretch.stepMinutes * 60, SUMMED]
  return toPoints((await db.query<StoredStep & Record<string, unknown>>(sql.read, values)).rows)
}

/** A change of leadership, as `service_ops.leader_change` has it. `at` is ISO 8601 text. */
export interface LeaderChangeAt {
  readonly at: string
  readonly task_name: string
  readonly from_instance: string | null
  readonly to_instance: string
  readonly term: number
  readonly reason: 'elected' | 'handed_over' | 'took_over'
  readonly gap_ms: number | null
}

/** More would be a black stripe on any axis of time. */
const MOST_CHANGES = 1_000

/** Changes of leadership within a stretch, in order of time; the newest thousand. */
export async function readLeaderChanges(db: Queryable, { from, to }: Stretch): Promise<LeaderChangeAt[]> {
  const values = [isoOf(from), isoOf(to), MOST_CHANGES]
  const { rows } = await db.query<{ change: LeaderChangeAt }>(sql.leader_changes, values)
  return rows.map(({ change }) => change)
}

function isoOf(time: string | Date): string {
  return typeof time === 'string' ? time : time.toISOString()
}
