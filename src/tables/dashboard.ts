import type { Queryable } from '../db/pool.ts'
import { loadStatements } from '../db/statements.ts'
import type { Walked } from './dashboardMessages.ts'
import type { PollRun } from './pollRun.ts'

const sql = loadStatements('dashboard', ['ages', 'runs', 'runs_of', 'tasks', 'actions', 'invariants'])

/** Open messages of one source, status and age. */
export interface AgeCount {
  readonly source: string
  readonly status: 'NEW' | 'PROCESSING' | 'FAILED' | 'DEAD'
  /** 0: less than a minute, 1: than ten, 2: than an hour, 3: more. */
  readonly age: 0 | 1 | 2 | 3
  readonly messages: number
}

/** What is open, by age; of each source as far as it is among the next `look` messages behind its low-water mark. */
export async function backlogAges(db: Queryable, look: number): Promise<readonly AgeCount[]> {
  return only((await db.query<{ ages: AgeCount[] }>(sql.ages, [look])).rows).ages
}

/** A row of the ledger. Times are ISO 8601 text. */
export interface LedgerRun {
  readonly run_id: number
  readonly poller: string
  readonly due_at: string
  readonly started_at: string
  readonly finished_at: string
  readonly outcome: PollRun['outcome'] | 'reset'
  readonly rows_read: number
  readonly rows_inserted: number
  readonly late_rows: number
  readonly edge: string | null
  readonly term: number
  readonly instance_id: string
  readonly error: string | null
  readonly took_ms: number
  /** How long after its time it began. */
  readonly after_ms: number
}

/** Looks at `look` runs below `below`; finds `limit` at most. */
export async function walkRuns(
  db: Queryable,
  filter: { readonly poller?: string | undefined; readonly outcomes?: readonly string[] | undefined },
  step: { readonly below: string; readonly floor: string; readonly look: number; readonly limit: number },
): Promise<Walked<LedgerRun>> {
  const values = [
    filter.poller ?? null,
    filter.outcomes ?? null,
    step.below,
    step.floor,
    step.look,
    step.limit,
  ]
  return only((await db.query<Walked<LedgerRun> & Record<string, unknown>>(sql.runs, values)).rows)
}

/** The newest runs of one poller. */
export async function runsOf(db: Queryable, poller: string, limit: number): Promise<readonly LedgerRun[]> {
  return only((await db.query<{ rows: LedgerRun[] }>(sql.runs_of, [poller, limit])).rows).rows
}

/** A task that any instance was ever configured with. */
export interface TaskRow {
  readonly task_name: string
  readonly kind: 'poller' | 'processor' | 'job'
  readonly led: boolean
  readonly paused: boolean
  readonly paused_by: string | null
  readonly paused_at: string | null
  readonly paused_seconds: number | null
  readonly orphaned: boolean
  readonly instances: readonly string[]
  readonly release: string
  readonly interval_seconds: number | null
  readonly source_table: string | null
  readonly sources: readonly string[] | null
  readonly forgotten_before: string | null
}

export async function allTasks(db: Queryable): Promise<readonly TaskRow[]> {
  return only((await db.query<{ tasks: TaskRow[] }>(sql.tasks)).rows).tasks
}

/** A row of `service_ops.operator_action`. */
export interface OperatorAction {
  readonly action_id: number
  readonly at: string
  readonly who: string
  readonly how: 'cli' | 'http' | 'sql'
  readonly action: string
  readonly target: string
  readonly detail: Readonly<Record<string, unknown>>
}

/** What operators did, the newest first, with a number below `below`. @param target undefined: whatever it was */
export async function actionsBefore(
  db: Queryable,
  below: string,
  limit: number,
  target?: string,
): Promise<readonly OperatorAction[]> {
  const { rows } = await db.query<{ actions: OperatorAction[] }>(sql.actions, [below, limit, target ?? null])
  return only(rows).actions
}

/** An invariant as it is written down. */
export interface Invariant {
  readonly name: string
  readonly scope: 'once' | 'poller'
  readonly title: string
  readonly meaning: string
  readonly query: string
}

export async function allInvariants(db: Queryable): Promise<readonly Invariant[]> {
  return only((await db.query<{ invariants: Invariant[] }>(sql.invariants)).rows).invariants
}

function only<T>(rows: readonly T[]): T {
  const [row] = rows
  if (row === undefined) throw new Error('a SELECT without FROM gave no row')
  return row
}
