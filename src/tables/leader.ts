import { interval } from '../db/interval.ts'
import type { Queryable } from '../db/pool.ts'
import { loadStatements } from '../db/statements.ts'
import type { SourceColumns } from './task.ts'

const sql = loadStatements('leader', [
  'look',
  'take_over',
  'renew',
  'release',
  'take_sentinel',
  'end_former_sentinel',
])

/** What one look says of a led task. Terms are text: they are bigint in the database and only compared. */
export interface LeaderLook {
  readonly task_name: string
  /** The present leader, alive or not; null: none. */
  readonly holder: string | null
  readonly instance_id: string | null
  readonly term: string | null
  /** Nobody leads, the lease is over, or it lies so far ahead that the clock must have stepped back. */
  readonly is_free: boolean
  /** The leader had a sentinel, and it is gone. Evidence of death, once seen twice. */
  readonly sentinel_free: boolean
  readonly paused: boolean | null
  /** Pollers: the source that the position stands for, as the newest registration or reset has it. */
  readonly source_table: string | null
  readonly source_columns: SourceColumns | null
}

export async function lookAtLeaders(
  db: Queryable,
  tasks: readonly string[],
  leaseMs: number,
): Promise<LeaderLook[]> {
  return (await db.query<LeaderLook>(sql.look, [tasks, interval(leaseMs)])).rows
}

export interface Leadership {
  readonly term: string
  readonly reason: 'elected' | 'handed_over' | 'took_over'
  readonly from_instance: string | null
  readonly gap_ms: number | null
  /** Pollers only: the number of the pass that the takeover opened. */
  readonly pass: string | null
  readonly edge: string | null
  /** The watermark row was missing and has been made. */
  readonly created: boolean | null
}

/** Tries to become leader; undefined: somebody else is. `dead` is the evidence, bound to holder and term. */
export async function takeOver(
  db: Queryable,
  task: string,
  me: { holder: string; instanceId: string },
  leaseMs: number,
  dead: { holder: string; term: string } | undefined,
): Promise<Leadership | undefined> {
  const values = [
    task,
    me.holder,
    me.instanceId,
    interval(leaseMs),
    dead?.holder ?? null,
    dead?.term ?? null,
    '1',
  ]
  return (await db.query<Leadership & Record<string, unknown>>(sql.take_over, values)).rows[0]
}

/** `locked`: not renewed now, since somebody else has its row locked; it was ours a moment ago. */
export type Renewal = 'renewed' | 'locked'

/** Prolongs the leases that are still ours; of one that is not, nothing is returned. */
export async function renewLeases(
  db: Queryable,
  leases: readonly { task: string; term: string }[],
  holder: string,
  leaseMs: number,
): Promise<Map<string, Renewal>> {
  const { rows } = await db.query<{ task_name: string; state: Renewal }>(sql.renew, [
    leases.map((lease) => lease.task),
    leases.map((lease) => lease.term),
    holder,
    interval(leaseMs),
  ])
  return new Map(rows.map((row) => [row.task_name, row.state]))
}

/** Ends a lease of ours and tells the stand-bys. False: it was no longer ours. */
export async function releaseLease(
  db: Queryable,
  task: string,
  me: { holder: string; instanceId: string },
  term: string,
): Promise<boolean> {
  return (await db.query(sql.release, [task, me.holder, term, me.instanceId])).rows.length > 0
}

/** Takes the session lock of this process on the given connection. */
export async function takeSentinel(db: Queryable, holder: string): Promise<{ taken: boolean; pid: number }> {
  const { rows } = await db.query<{ taken: boolean; pid: number }>(sql.take_sentinel, [holder])
  const [row] = rows
  if (row === undefined) throw new Error('take_sentinel returned no row')
  return row
}

/** Ends a former connection of this process that still holds its session lock; returns how many there were. */
export async function endFormerSentinel(db: Queryable, holder: string): Promise<number> {
  return Number((await db.query<{ ended: string }>(sql.end_former_sentinel, [holder])).rows[0]?.ended ?? 0)
}
