import type { EventName, Level } from './eventFields.ts'

/**
 * The level of every event; `'given'` where the line brings its own in its field `level`.
 *
 * `warn` is what mends itself, `error` what somebody should look at by day, `critical` what nothing but a
 * person mends. What happens per message is `info` (and sampled, sampler.ts) when it tells the message's
 * fate, `debug` when it tells how it got there.
 */
export const EVENTS = {
  config_invalid: 'error',

  database_wait: 'warn',
  database_ready: 'info',
  database_unreachable: 'critical',
  database_lost: 'error',
  database_back: 'info',
  connections_ended: 'warn',
  embedded_ready: 'info',
  embedded_stopped: 'info',
  pooler_detected: 'warn',
  start_waits: 'error',

  schema_checked: 'info',
  schema_incompatible: 'critical',
  table_missing: 'critical',
  table_back: 'info',
  inbox_emptied: 'warn',
  permission_missing: 'critical',
  permission_back: 'info',

  migrations_disabled: 'info',
  migrations_applied: 'info',
  migrations_skipped: 'info',
  migration_failed: 'critical',
  migration_lock_acquired: 'info',
  migration_lock_busy: 'warn',
  migration_lock_released: 'info',

  task_started: 'info',
  task_started_as_leader: 'info',
  task_standby: 'info',
  task_failed_to_start: 'error',
  lateness_applied: 'info',
  rows_undated: 'warn',
  rows_nameless: 'warn',
  task_paused: 'info',
  task_resumed: 'info',
  task_orphaned: 'info',

  leader_elected: 'info',
  leader_took_over: 'warn',
  leader_handed_over: 'info',
  leader_lost: 'warn',
  stale_write_refused: 'warn',

  watermark_created: 'warn',
  clock_stepped: 'warn',
  poll_completed: 'info',
  poll_failed: 'error',
  row_refused: 'error',
  sweep_found: 'warn',
  sweep_completed: 'info',
  sweep_wanted: 'info',
  messages_forgotten: 'debug',

  message_picked: 'info',
  slot_acquired: 'debug',
  message_done: 'info',
  message_failed: 'warn',
  message_dead: 'error',
  message_interrupted: 'info',
  slot_released: 'debug',
  reclaimed_instance: 'warn',
  outcome_deferred: 'warn',
  circuit_opened: 'warn',
  circuit_closed: 'info',
  handler_log: 'given',

  job_started: 'debug',
  job_done: 'info',
  job_failed: 'error',
  duty_done: 'debug',
  reclaimed_jobs: 'warn',

  queue_warning: 'warn',

  concurrency_lowered: 'warn',
  pool_pressure: 'warn',
  listen_lost: 'warn',
  listen_back: 'info',
  loop_failed: 'error',
  health_failed: 'error',
  health_recovered: 'info',

  http_listening: 'info',
  http_request: 'given',
  intake_accepted: 'given',
  intake_refused: 'given',
  intake_failed: 'error',
  intake_off: 'warn',
  login: 'info',
  login_refused: 'warn',

  drain_started: 'info',
  drain_step: 'info',
  drain_completed: 'info',
  cleanup_failed: 'error',
  drain_failed: 'error',
  runtime_warning: 'warn',
  start_failed: 'critical',
  crashed: 'critical',
  event_loop_blocked: 'critical',

  ready: 'info',
} as const satisfies Record<EventName, Level | 'given'>

/** Events that come once or more per message, and so are thinned out at high rates. */
export const PER_MESSAGE_EVENTS: ReadonlySet<EventName> = new Set([
  'message_picked',
  'slot_acquired',
  'message_done',
  'message_failed',
  'message_interrupted',
  'slot_released',
  'intake_accepted',
  'intake_refused',
])
