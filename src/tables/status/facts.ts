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
  /** How long a message has been waiting that could have been claimed. Null: none waits. */
  readonly waited_seconds: number | null
}

/** A job of some instance's config. */
export interface JobStatus extends PauseStatus {
  readonly id: number
  readonly job: string
}

/** A key whose slots are in use, or that an operator holds. */
export interface SlotStatus {
  readonly source: string
  /** `*`: every key of the source, which an operator holds. */
  readonly group_key: string
  readonly paused: boolean
  /** Null: no limit. */
  readonly max_slots: number | null
  readonly in_use: number
  readonly oldest_held_seconds: number | null
  readonly holders: readonly string[]
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

/** All that one look at the database tells. */
export interface StatusFacts {
  readonly at: string
  readonly pollers: readonly PollerStatus[]
  readonly processors: readonly ProcessorStatus[]
  readonly jobs: readonly JobStatus[]
  /** Those that are held or in use; fifty at most. */
  readonly slots: readonly SlotStatus[]
  /** Targets of deliveries that nothing is sent to. */
  readonly circuits: readonly CircuitStatus[]
  readonly leaders: readonly LeaderStatus[]
  /** The newest ten. */
  readonly leader_changes: readonly LeaderChange[]
  /** Those that run, and those that stopped within the last hour. */
  readonly instances: readonly InstanceStatus[]
}

/** One invariant, as `service_ops.verify()` finds it. */
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
