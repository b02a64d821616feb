/** Levels by name, as they stand in a line. */
export type Level = 'debug' | 'info' | 'warn' | 'error' | 'critical'

/** What every event about one message carries. */
interface MessageFields {
  source: string
  message_id: string
  group_key?: string | null
  attempt?: number
}

/** An error in a line: its class, and its first line cleaned by `cleanError`. */
interface ErrorFields {
  class: string
  text?: string
}

/** One request. */
interface RequestFields {
  level: Level
  method: string
  /** The path as the client gave it, without its query. */
  path: string
  status: number
  duration_ms: number
  class?: string
}

/** Every event and its fields, in the order in which a process meets them. Times in the unit of the name. */
export interface Events {
  config_invalid: { what: string; expected: string; file?: string }

  database_wait: ErrorFields & { attempt: number; next_wait_s: number | null }
  database_ready: { attempt: number; waited_ms: number }
  database_unreachable: ErrorFields & { attempt: number }
  database_lost: ErrorFields
  database_back: { waited_ms: number }
  /** Own connections that an outage cut off while their backends lived on. */
  connections_ended: { ended: number }
  embedded_ready: { port: number; joined: boolean; waited_ms?: number }
  embedded_stopped: { reason?: string }
  pooler_detected: { mode: string; consequence: string }
  /** A step of the start met what time mends; where it is a lock, whose. `age_s`: of the transaction. */
  start_waits: ErrorFields & {
    step: string
    table?: string | null
    pid?: number
    application?: string | null
    age_s?: number | null
    how_to_end?: string
  }

  schema_checked: { version: number; window: string; tables?: number }
  schema_incompatible: { version: number | null; window: string; tables?: readonly string[] }
  /** `table`: or a column with its table. `also`: what is missing besides, such as views that a DROP … CASCADE took along. */
  table_missing: { table: string; command: string; also?: readonly string[] }
  table_back: { table: string }
  /** What was known of every message is gone. */
  inbox_emptied: { table: string }
  permission_missing: { role: string; objects: readonly string[]; grants: readonly string[] }
  permission_back: object

  migrations_disabled: { names?: readonly string[] }
  migrations_applied: { names: readonly string[]; duration_ms?: number }
  migrations_skipped: { names?: readonly string[]; reason?: string }
  migration_failed: ErrorFields & { names?: readonly string[] }
  migration_lock_acquired: { waited_ms: number; statement_timeout_s: number }
  /** One that keeps migrations apart, or, with `file`, that of a table. `age_s`: of the connection; of the transaction. */
  migration_lock_busy: {
    pid: number | null
    application: string | null
    age_s: number | null
    how_to_end: string | null
    waited_ms?: number
    file?: string | null
    table?: string | null
  }
  migration_lock_released: { held_ms: number }

  task_started: { task: string }
  task_started_as_leader: { task: string; term: number }
  task_standby: { task: string; leader: string }
  task_failed_to_start: { task: string; reason: string }
  lateness_applied: { task: string; lateness_s: number; reason: string }
  /** `rows`: 1,001 stands for any number above 1,000. */
  rows_undated: { task: string; column: string; rows: number }
  rows_nameless: { task: string; column: string; rows: number }
  task_paused: { task: string; by: string | null }
  task_resumed: { task: string; by: string | null }
  task_orphaned: { task: string }

  leader_elected: { task: string; term: number }
  leader_took_over: { task: string; term: number; from: string | null; gap_ms: number | null }
  leader_handed_over: { task: string; term: number; from?: string | null; gap_ms?: number | null }
  leader_lost: { task: string; term: number; reason?: string }
  stale_write_refused: { task: string; term: number; what?: string }

  watermark_created: { poller: string; edge?: string; from?: string; term?: number }
  clock_stepped: { by_ms: number | null; task?: string; messages?: number }
  poll_completed: {
    poller: string
    rows_read: number
    rows_inserted: number
    late_rows: number
    duration_ms: number
    edge: string | null
    outcome?: string
  }
  poll_failed: ErrorFields & { poller: string; duration_ms?: number; next_try_ms?: number }
  row_refused: { poller: string; reason: string }
  /** Rows that no pass had taken in; `undated` of them have no time. */
  sweep_found: {
    poller: string
    rows: number
    undated: number
    oldest: string | null
    example: string | null
  }
  /** Rows older than `from` are forgotten and were not looked at. */
  sweep_completed: {
    poller: string
    rows_read: number
    found: number
    from: string
    to: string
    duration_ms: number
  }
  sweep_wanted: { poller: string; reason: string }
  messages_forgotten: { poller?: string; source?: string; messages: number }

  message_picked: MessageFields & { waited_ms?: number }
  slot_acquired: MessageFields & { in_use: number; max: number | null }
  message_done: MessageFields & { duration_ms: number; latency_ms?: number | null }
  message_failed: MessageFields & ErrorFields & { duration_ms?: number; next_attempt_s?: number }
  message_dead: MessageFields & ErrorFields & { duration_ms?: number }
  message_interrupted: MessageFields & { reason: string }
  slot_released: MessageFields & { reason: 'done' | 'failed' | 'dead' | 'interrupted' | 'reclaimed' }
  reclaimed_instance: { dead_instance: string; messages: number; reason: string }
  outcome_deferred: ErrorFields & { messages: number; next_try_ms?: number }
  /** `class`: what its newest message met. `failures`: since its newest success. */
  circuit_opened: ErrorFields & { target: string; failures: number; for_s: number }
  circuit_closed: { target: string; after_s: number }
  handler_log: { level: Exclude<Level, 'critical'>; task?: string; fields?: Record<string, unknown> }

  job_started: { job: string; job_id?: string; attempt: number }
  job_done: { job: string; job_id?: string; attempt?: number; duration_ms: number }
  job_failed: ErrorFields & { job: string; job_id?: string; attempt?: number; duration_ms?: number }
  /** A run of our own upkeep: retention, sweeps, records. */
  duty_done: { job: string; duration_ms: number }

  reclaimed_jobs: { dead_instance: string; jobs: number; reason: string }

  /** What pg-boss finds remarkable about its queues, such as a backlog or a slow statement. */
  queue_warning: { text: string }

  /** DB_POOL_MAX is too small for the transactional handlers that the config wants at once. */
  concurrency_lowered: { pool_max: number; wanted: number; concurrency: number }
  pool_pressure: { waiting: number; in_use?: number; max?: number }
  listen_lost: ErrorFields
  listen_back: { waited_ms: number }
  /** A part's own loop threw what it should have caught; the loop goes on. */
  loop_failed: ErrorFields & { loop: string; task?: string; next_try_ms?: number }
  health_failed: { class?: string; checks?: readonly string[] }
  health_recovered: { after_ms?: number }

  http_listening: { address: string }
  http_request: RequestFields
  intake_accepted: RequestFields
  intake_refused: RequestFields
  intake_failed: ErrorFields
  /** An intake of the config that nobody can send to. */
  intake_off: { source: string }
  /** At the dashboard. `who`: as they call themselves. */
  login: { who: string }
  login_refused: { who?: never }

  drain_started: { signal: string; in_flight: number }
  drain_step: { step: string; waiting: number; elapsed_ms: number }
  drain_completed: { finished: number; given_back: number; elapsed_ms?: number }
  cleanup_failed: ErrorFields & { cleanup?: string }
  drain_failed: ErrorFields
  /** What Node would print to stderr as it is: a deprecation, a leak of listeners. */
  runtime_warning: ErrorFields
  start_failed: ErrorFields & { step?: string }
  /** Something was thrown that nobody caught; the process gives its work back and ends. */
  crashed: ErrorFields
  /** A handler does not give the event loop back; the process is ended from a thread beside it. */
  event_loop_blocked: { blocked_s: number; limit_s: number }

  ready: { address: string; since_start_ms: number }
}

export type EventName = keyof Events
