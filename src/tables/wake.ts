import pg from 'pg'
import type { Queryable } from '../db/pool.ts'
import { fillIdentifiers, loadStatements } from '../db/statements.ts'

const sql = loadStatements('wake', [
  ...(['on', 'end_former', 'fall_asleep', 'wake_up', 'stop_waiting', 'describe', 'known'] as const),
  ...(['create_function', 'comment_function', 'create_trigger', 'drop', 'look_again'] as const),
])

/** Whether inserts wake this poller; false also for one that is not registered. */
export async function wakeIsOn(db: Queryable, poller: string): Promise<boolean> {
  const { rows } = await db.query<{ is_on: boolean }>(sql.on, [poller])
  return rows[0]?.is_on ?? false
}

/** Ends sessions of former leaders that hold the poller's lock, or wait for it. */
export async function endFormerSleepers(db: Queryable, poller: string): Promise<void> {
  await db.query(sql.end_former, [poller])
}

/** Takes the session's lock, when every writer that inserted in silence has ended. False: inserts do not wake it. */
export async function takeSleep(session: Queryable, poller: string): Promise<boolean> {
  const { rows } = await session.query<{ held: string }>(sql.fall_asleep, [poller])
  return rows.length > 0
}

/** Gives the session's lock back. */
export async function leaveSleep(session: Queryable, poller: string): Promise<void> {
  await session.query(sql.wake_up, [poller])
}

/** Ends the wait for the lock of the backend with this number, if it waits. */
export async function stopWaiting(db: Queryable, pid: number): Promise<void> {
  await db.query(sql.stop_waiting, [pid])
}

/** What is to be known of a source before it gets the trigger. */
export interface WakeSource {
  /** Qualified and quoted. */
  readonly table: string
  readonly relkind: string
  /** Ours, quoted. */
  readonly role: string
  readonly may_trigger: boolean
  readonly may_create: boolean
  /** Of trigger and function, quoted. */
  readonly wake_name: string
  readonly lock_key: string
  /** Transactions may be prepared here. */
  readonly prepares: boolean
  readonly is_on: boolean
}

/** Undefined: there is no such table, or no such poller. `table`: default, as the poller is registered. */
export async function describeWake(
  db: Queryable,
  poller: string,
  table?: string,
): Promise<WakeSource | undefined> {
  return (await db.query<WakeSource & Record<string, unknown>>(sql.describe, [poller, table ?? null])).rows[0]
}

/** A poller, as far as `wake off` must know it. */
export interface WakeKnown {
  /** Null: it has none on record, or it is known by its function alone. */
  readonly source_table: string | null
  readonly has_function: boolean
  readonly wake_name: string
}

export async function findWake(db: Queryable, poller: string): Promise<WakeKnown | undefined> {
  return (await db.query<WakeKnown & Record<string, unknown>>(sql.known, [poller])).rows[0]
}

/** Makes function and trigger; in a transaction of the caller's. */
export async function createWake(db: Queryable, poller: string, source: WakeSource): Promise<void> {
  const { wake_name, lock_key, table } = source
  const literals = { lock_key: pg.escapeLiteral(lock_key), poller: pg.escapeLiteral(poller) }
  await db.query(fillIdentifiers(sql.create_function, { wake_name, ...literals }))
  await db.query(fillIdentifiers(sql.comment_function, { wake_name }))
  await db.query(fillIdentifiers(sql.create_trigger, { wake_name, table }))
}

/** Removes function and trigger, wherever the trigger is. */
export async function dropWake(db: Queryable, wakeName: string): Promise<void> {
  await db.query(fillIdentifiers(sql.drop, { wake_name: wakeName }))
}

/** Whoever leads the poller looks at once, and whether inserts are to wake it. */
export async function announceWake(db: Queryable, poller: string): Promise<void> {
  await db.query(sql.look_again, [poller])
}
