import { interval } from '../db/interval.ts'
import type { Queryable } from '../db/pool.ts'
import { loadStatements } from '../db/statements.ts'

const sql = loadStatements('instance', [
  'beat',
  'beat_and_look',
  'others',
  'mark_stopped',
  'silent',
  'forget_stopped',
  'end_former',
  'end_transactions',
])

export type InstanceState = 'starting' | 'ready' | 'draining' | 'stopped'

/** A target of deliveries that an instance sends nothing to. */
export interface BrokenCircuit {
  /** Its origin. */
  readonly target: string
  /** What its newest message met: a status, or the class of an error. */
  readonly class: string
  readonly open_for_s: number
  readonly next_probe_s: number
}

/** What an instance says of itself at every heartbeat. */
export interface InstanceRecord {
  readonly instanceId: string
  readonly holder: string
  readonly machineId: string | null
  readonly region: string | null
  readonly release: string
  readonly processGroup: string | null
  readonly state: InstanceState
  readonly sentinel: boolean
  readonly tasks: readonly string[]
  /** Default: none. */
  readonly circuits?: readonly BrokenCircuit[]
}

export async function beat(db: Queryable, me: InstanceRecord): Promise<void> {
  await db.query(sql.beat, valuesOf(me))
}

/** What there is to know at each heartbeat. */
export interface BeatAnswer {
  readonly others: readonly OtherInstance[]
  /** All that is paused, and by whom. */
  readonly paused: ReadonlyMap<string, string | null>
  /** Whether the others see this instance's sentinel held. */
  readonly sentinelHeld: boolean
}

/** As {@link beat}, {@link otherInstances} and `pausedTasks` in one. */
export async function beatAndLook(db: Queryable, me: InstanceRecord): Promise<BeatAnswer> {
  const { rows } = await db.query<{
    others: OtherInstance[]
    paused: { task_name: string; paused_by: string | null }[]
    sentinel_held: boolean
  }>(sql.beat_and_look, valuesOf(me))
  const [row] = rows
  if (row === undefined) throw new Error('beat_and_look returned no row')
  return {
    others: row.others,
    paused: new Map(row.paused.map(({ task_name: task, paused_by: by }) => [task, by])),
    sentinelHeld: row.sentinel_held,
  }
}

function valuesOf(me: InstanceRecord): unknown[] {
  return [
    me.instanceId,
    me.holder,
    me.machineId,
    me.region,
    me.release,
    me.processGroup,
    me.state,
    me.sentinel,
    me.tasks,
    me.circuits === undefined || me.circuits.length === 0 ? null : JSON.stringify(me.circuits),
  ]
}

/** Another instance, as one look shows it. `last_seen_at` is text with microseconds: it is only compared. */
export interface OtherInstance {
  readonly instance_id: string
  readonly sentinel: boolean
  readonly last_seen_at: string
  readonly sentinel_held: boolean
  /** Start time of the server; after a restart every sentinel is free while every process lives. */
  readonly boot: string
}

export async function otherInstances(db: Queryable, instanceId: string): Promise<OtherInstance[]> {
  return (await db.query<OtherInstance & Record<string, unknown>>(sql.others, [instanceId])).rows
}

/** Whether an instance could have written a heartbeat and has not. */
export async function isSilent(db: Queryable, instanceId: string, lastSeenAt: string): Promise<boolean> {
  return (await db.query(sql.silent, [instanceId, lastSeenAt])).rowCount === 1
}

/** Marks a dead instance as stopped, unless it was heard of since. */
export async function markStopped(db: Queryable, instanceId: string, lastSeenAt: string): Promise<void> {
  await db.query(sql.mark_stopped, [instanceId, lastSeenAt])
}

/** Deletes the records of instances that stopped longer ago than that; returns how many. */
export async function forgetStopped(db: Queryable, afterMs: number): Promise<number> {
  return (await db.query(sql.forget_stopped, [interval(afterMs)])).rowCount ?? 0
}

/** Ends this instance's own backends that are older than that: an outage cut them off. Returns how many. */
export async function endFormerBackends(
  db: Queryable,
  applicationName: string,
  olderThanMs: number,
): Promise<number> {
  const values = [applicationName, interval(olderThanMs)]
  return Number((await db.query<{ ended: string }>(sql.end_former, values)).rows[0]?.ended ?? 0)
}

/** Ends the backends of a frozen or dead instance that are in a transaction, and so lets go of the rows of its messages. */
export async function endTransactions(db: Queryable, applicationName: string): Promise<void> {
  await db.query(sql.end_transactions, [applicationName])
}
