import type { Queryable } from '../db/pool.ts'
import { loadStatements } from '../db/statements.ts'

const sql = loadStatements('status', ['document', 'verify'])

/** Whether a task is held by an operator, as `service_ops.task_status` has it. */
export interface PauseStatus {
  readonly paused: boolean
  readonly paused_by: string | null
  readonly paused_at: string | null
  readonly paused_seconds: number | null
  /** No live instance has it in its config: what waits for it waits on. Not a fault. */
  readonly orphaned: boolean
}

/** A row of `service_ops.poller_status`, as far as it is shown to people. Times are ISO 8601 text. */
export interface PollerStatus extends PauseStatus {
  readonly id: number
  readonly poller: string
  readonly source_table: string | null
  readonly leader: string | null
  readonly term: number | null
  readonly interval_seconds: number | null
  /** Inserts into its source wake it. */
  readonly wake: boolean
  readonly edge: string | null
  readonly edge_lag_seconds: number | null
  readonly lag_seconds: number | null
  readonly rows_total: number | null
  readonly late_rows_total: number | null
  readonly last_run_at: string | null
  readonly next_run_at: string | null
  readonly last_outcome: string | null
  readonly last_rows_inserted: number | null
  readonly last_error: string | null
}

/** A row of `service_ops.processor_status`. */
export interface ProcessorStatus extends PauseStatus {
  readonly id: number
  readonly processor: string
  readonly sources: readonly string[] | null
  readonly exclusive: boolean
  readonly leader: string | null
  readonly term: number | null
  readonly waiting: number
  readonly processing: number
  readonly failed: number
  readonly dead: number
  readonly oldest_open_seconds: number | null
}

/** A job of some instance's config. */
export interface JobStatus extends PauseStatus {
  readonly id: number
  readonly job: string
}

/** A row of `service_ops.circuit_status`. */
export interface CircuitStatus {
  readonly target: string
  readonly instance_id: string
  readonly class: string
  readonly open_seconds: number
  readonly next_probe_seconds: number
}

/** A row of `service_ops.background_task_leader`, with its age by the database's clock. */
export interface LeaderStatus {
  readonly task_name: string
  readonly instance_id: string
  readonly holder: string
  readonly term: number
  readonly led_seconds: number
  /** The lease is over and nobody has taken over yet. */
  readonly expired: boolean
}

/** A row of `service_ops.leader_change`. */
export interface LeaderChange {
  readonly task_name: string
  readonly from_instance: string | null
  readonly to_instance: string
  readonly term: number
  readonly reason: string
  readonly gap_ms: number | null
  readonly seconds_ago: number
}

/** A row of `service_ops.instance_status`. */
export interface InstanceStatus {
  readonly instance_id: string
  readonly state: string
  readonly release: string
  readonly region: string | null
  readonly machine_id: string | null
  readonly process_group: string | null
  readonly leads: readonly string[]
  readonly seen_seconds_ago: number
  readonly started_at: string
}

/** The document of `tidemark status --json` and of `/status`. */
export interface StatusDocument {
  readonly at: string
  readonly pollers: readonly PollerStatus[]
  readonly processors: readonly ProcessorStatus[]
  readonly jobs: readonly JobStatus[]
  /** Targets of deliveries that nothing is sent to. */
  readonly circuits: readonly CircuitStatus[]
  readonly leaders: readonly LeaderStatus[]
  /** The newest ten. */
  readonly leader_changes: readonly LeaderChange[]
  /** Those that run, and those that stopped within the last hour. */
  readonly instances: readonly InstanceStatus[]
}

/** Reads the whole status in one statement. */
export async function readStatus(db: Queryable): Promise<StatusDocument> {
  const { rows } = await db.query<{ document: StatusDocument }>(sql.document)
  const [row] = rows
  if (row === undefined) throw new Error('a SELECT without FROM gave no row')
  return row.document
}

/** One invariant, as `service_ops.verify()` found it. */
export interface InvariantResult {
  readonly name: string
  /** Null: it could not be checked; `detail` says why. */
  readonly ok: boolean | null
  /** Violations. */
  readonly found: number | null
  readonly detail: string
  /** What was run; psql runs it as it stands. */
  readonly query: string
}

/** Runs every invariant with the rights of the connection's role. */
export async function readInvariants(db: Queryable): Promise<InvariantResult[]> {
  const { rows } = await db.query<InvariantResult & Record<string, unknown>>(sql.verify)
  return rows
}
