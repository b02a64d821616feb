import type { Queryable } from '../db/pool.ts'
import { loadStatements } from '../db/statements.ts'
import { PauseUntold, TaskUnknown } from '../errors.ts'

const sql = loadStatements('control', [
  'act_as',
  'set_paused',
  'recorded',
  'record',
  'amend',
  'task',
  'names',
  'paused',
  'resumed_by',
  'orphans',
])

/** Who acts, for the record; whoever writes SQL is named by its role. */
export interface Actor {
  readonly who: string
  readonly how: 'cli' | 'http'
}

/** Says who acts for the rest of the transaction that `db` is in. */
export async function actAs(db: Queryable, { who, how }: Actor): Promise<void> {
  await db.query(sql.act_as, [who, how])
}

/** Writes down an action in the transaction that `db` is in, by whoever {@link actAs} named; returns its number. */
export async function recordAction(
  db: Queryable,
  action: string,
  target: string,
  detail: Readonly<Record<string, unknown>> = {},
): Promise<string> {
  const { rows } = await db.query<{ id: string }>(sql.record, [action, target, JSON.stringify(detail)])
  return only(rows).id
}

/** Adds to what is known of an action. */
export async function amendAction(
  db: Queryable,
  id: string,
  detail: Readonly<Record<string, unknown>>,
): Promise<void> {
  await db.query(sql.amend, [id, JSON.stringify(detail)])
}

export interface KnownPause {
  readonly kind: 'poller' | 'processor' | 'job'
  readonly paused: boolean
  readonly paused_by: string | null
  readonly paused_at: string | null
}

/** @throws TaskUnknown, with the names that there are */
export async function findPause(db: Queryable, task: string): Promise<KnownPause> {
  const { rows } = await db.query<KnownPause & Record<string, unknown>>(sql.task, [task])
  if (rows[0] !== undefined) return rows[0]
  const names = await db.query<{ task_name: string }>(sql.names)
  throw new TaskUnknown(
    task,
    names.rows.map((row) => row.task_name),
  )
}

export interface PauseChange extends KnownPause {
  /** Number of the action on record. */
  readonly action: string
  /** False: it was so already. */
  readonly changed: boolean
}

/**
 * Pauses or resumes a task, in the transaction that `db` is in; on record either way. Two that pause at once are one
 * change: the second finds it done, and is told by whom.
 * @throws TaskUnknown; PauseUntold, and then nothing may be committed
 */
export async function setPaused(db: Queryable, task: string, paused: boolean): Promise<PauseChange> {
  for (;;) {
    if ((await db.query(sql.set_paused, [task, paused])).rows.length > 0) {
      const action = only((await db.query<{ id: string | null }>(sql.recorded)).rows).id
      if (action === null) throw new PauseUntold()
      return { ...(await findPause(db, task)), action, changed: true }
    }
    const found = await findPause(db, task)
    // Somebody may have changed it between the two looks.
    if (found.paused !== paused) continue
    const action = await recordAction(db, paused ? 'pause' : 'resume', task, { changed: false })
    return { ...found, action, changed: false }
  }
}

/** All that is paused, and by whom. */
export async function pausedTasks(db: Queryable): Promise<Map<string, string | null>> {
  const { rows } = await db.query<{ task_name: string; paused_by: string | null }>(sql.paused)
  return new Map(rows.map((row) => [row.task_name, row.paused_by]))
}

/** Who resumed a task last; null: nobody that is on record. */
export async function resumedBy(db: Queryable, task: string): Promise<string | null> {
  return (await db.query<{ who: string }>(sql.resumed_by, [task])).rows[0]?.who ?? null
}

/** Tasks that no live instance has in its config. */
export async function orphanedTasks(db: Queryable, instanceId: string): Promise<string[]> {
  const { rows } = await db.query<{ task_name: string }>(sql.orphans, [instanceId])
  return rows.map((row) => row.task_name)
}

function only<T>(rows: readonly T[]): T {
  const [row] = rows
  if (row === undefined) throw new Error('a statement of control.sql gave no row')
  return row
}
