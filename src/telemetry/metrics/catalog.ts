/**
 * Every metric, once: its type, its labels and what it means. What is counted, shown, documented (docs/metrics.md), alerted
 * on (ops/alerts.yml) and drawn (ops/grafana.json) is named here, and tests compare all of them with it.
 *
 * Where a number comes from decides how to add it up. What an instance counts of its own work (`instance`) is summed over the
 * instances. What is read from the database (`database`) is the same in each of them, so one takes the greatest.
 */

/** What a metric is. */
export interface MetricFacts {
  readonly type: 'counter' | 'gauge' | 'histogram'
  readonly labels: readonly string[]
  readonly help: string
  readonly from: 'instance' | 'database'
  /** Upper bounds, in the metric's unit; of histograms alone. */
  readonly buckets?: readonly number[]
}

/** From a row's time to DONE: milliseconds where inserts wake the poller, up to hours after an outage. */
const LATENCY_S = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800]
/** A handler may do nothing, or take the minute that it has by default. */
const HANDLER_S = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]
const JOB_S = [0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3_600]
/** A hand-over takes milliseconds, a takeover up to a lease and a bit. */
const GAP_S = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30, 60]

const own = <T extends 'counter' | 'gauge', const L extends readonly string[]>(
  type: T,
  labels: L,
  help: string,
) => ({ type, labels, help, from: 'instance' }) as const
const histogram = <const L extends readonly string[]>(labels: L, buckets: readonly number[], help: string) =>
  ({ type: 'histogram', labels, help, from: 'instance', buckets }) as const
const read = <const L extends readonly string[]>(labels: L, help: string) =>
  ({ type: 'gauge', labels, help, from: 'database' }) as const

export const METRICS = {
  tidemark_messages_taken_in_total: own(
    'counter',
    ['source'],
    'Messages put into the inbox, by a poller or by POST /inbox.',
  ),
  tidemark_messages_processed_total: own(
    'counter',
    ['source'],
    'Messages that this instance has seen to DONE.',
  ),
  tidemark_messages_failed_total: own(
    'counter',
    ['source'],
    'Attempts that failed, the last one of a DEAD message included.',
  ),
  tidemark_messages_dead_total: own('counter', ['source'], 'Messages given up as DEAD; they need a person.'),
  tidemark_messages_interrupted_total: own(
    'counter',
    ['source'],
    'Claims given back through no fault of the message, such as by a drain.',
  ),
  tidemark_messages_reclaimed_total: own(
    'counter',
    ['reason'],
    'Messages taken back from another instance (dead, frozen) or from a claim whose answer was lost (answer_lost).',
  ),
  tidemark_message_latency_seconds: histogram(
    ['source'],
    LATENCY_S,
    'From the time of the source row, or from intake, to DONE.',
  ),
  tidemark_handler_duration_seconds: histogram(
    ['source'],
    HANDLER_S,
    'How long handler calls took, those that failed included; a batch is one call.',
  ),
  tidemark_queue_depth: read(['source', 'status'], 'Messages that are not finished, by status.'),
  tidemark_oldest_message_age_seconds: read(
    ['source'],
    'Age in the inbox of the oldest message that is NEW, PROCESSING or FAILED; 0 when there is none.',
  ),
  tidemark_messages_overdue: read(
    ['source'],
    'Messages taken in between one and two hours ago that are not finished, DEAD ones included.',
  ),
  tidemark_messages_stuck: read(
    ['source'],
    'Messages in work whose instance is gone, or for more than twice the time limit of their handler and a minute.',
  ),
  tidemark_slots_in_use: read(
    ['source', 'group_key'],
    'Messages in work of each group key, where keys have slots: the 20 busiest keys, and the sum of the others.',
  ),

  tidemark_poll_runs_total: own(
    'counter',
    ['poller', 'outcome'],
    'Passes that this instance wrote into the ledger, by outcome.',
  ),
  tidemark_poll_rows_total: own('counter', ['poller'], 'Rows that passes put into the inbox.'),
  tidemark_late_rows_total: own(
    'counter',
    ['poller'],
    'Of these, rows behind the greatest cursor. Ordinary: they committed late.',
  ),
  tidemark_sweep_found_total: own(
    'counter',
    ['poller'],
    'Rows that only the sweep could find: an assumption about their time does not hold.',
  ),
  tidemark_watermark_lag_seconds: read(
    ['poller'],
    'Since the newest completed pass began: what is older has been looked for.',
  ),
  tidemark_edge_lag_seconds: read(
    ['poller'],
    'Now minus the edge: everything older is proven to be in the inbox.',
  ),
  tidemark_poll_interval_seconds: own(
    'gauge',
    ['poller'],
    'The longest time between two passes that are due, as the config has it.',
  ),
  tidemark_edge_lag_expected_seconds: own(
    'gauge',
    ['poller'],
    'The lag of the edge that is ordinary: two intervals, the lateness of the source and the slack of clocks.',
  ),

  tidemark_is_leader: own('gauge', ['task'], '1 while this instance leads the task, else 0.'),
  tidemark_leader_changes_total: own(
    'counter',
    ['task', 'reason'],
    'Leaderships that began here: elected, handed_over or took_over.',
  ),
  tidemark_leader_gap_seconds: histogram(
    ['reason'],
    GAP_S,
    'Time without a leader at a change: since the hand-over, or since the last proof of life of the dead.',
  ),
  tidemark_stale_writes_refused_total: own(
    'counter',
    ['task'],
    'Writes of this instance as leader that were refused because another leads.',
  ),
  tidemark_task_paused: own('gauge', ['task'], '1 while an operator holds the task, else 0.'),

  tidemark_jobs_total: own(
    'counter',
    ['job', 'outcome'],
    'Runs of jobs and of our own upkeep: done or failed.',
  ),
  tidemark_job_duration_seconds: histogram(
    ['job'],
    JOB_S,
    'How long runs of jobs took, those that failed included.',
  ),
  tidemark_deliveries_total: own(
    'counter',
    ['outcome'],
    'Deliveries by HTTP: delivered, refused, failed, timeout, broken, unreachable, held back, or interrupted by us.',
  ),
  tidemark_intake_requests_total: own(
    'counter',
    ['source', 'status'],
    'Requests to POST /inbox by HTTP status; unknown: a source that the config has not.',
  ),

  tidemark_verify_ok: read(
    ['check'],
    '1 where the invariant holds, 0 where it does not; absent where it could not be checked.',
  ),
  tidemark_verify_unknown: read(
    ['check'],
    '1 where the invariant could not be checked: it took longer than 20 s, or a right is missing; else 0.',
  ),
  tidemark_instances: read(
    ['state', 'release'],
    'Instances by state; lost: silent for 10 s without a word of having stopped.',
  ),
  tidemark_database_up: own('gauge', [], '1 while the database answers this instance, else 0.'),
  tidemark_database_numbers_age_seconds: own(
    'gauge',
    [],
    'Age of the numbers here that were read from the database; absent, as they are, when they could not be read.',
  ),
  tidemark_database_errors_total: own(
    'counter',
    ['class'],
    'Statements and connections that failed: deadlock, serialization, timeout, connection or other.',
  ),
  tidemark_pool_connections: own(
    'gauge',
    ['pool', 'state'],
    'Database connections in_use and idle, and callers that wait for one (waiting).',
  ),
  tidemark_pool_connections_limit: own('gauge', ['pool'], 'Database connections that the pool may have.'),
  tidemark_pool_pressure: own('gauge', [], '1 while connections are short and less is claimed, else 0.'),

  tidemark_ready: own('gauge', [], '1 while /ready says 200, else 0.'),
  tidemark_active_requests: own('gauge', [], 'HTTP requests under way.'),
  tidemark_event_loop_lag_seconds: own(
    'gauge',
    [],
    'The longest that the event loop was late since the metrics were made before.',
  ),
  tidemark_up_since_seconds: own('gauge', [], 'When this instance started, in seconds of the Unix epoch.'),
  tidemark_build_info: own('gauge', ['version', 'release'], 'Always 1; its labels say what runs here.'),

  process_cpu_seconds_total: own('counter', [], 'CPU time of this process, user and system, in seconds.'),
  process_resident_memory_bytes: own('gauge', [], 'Resident memory of this process in bytes.'),
  process_start_time_seconds: own('gauge', [], 'When this process started, in seconds of the Unix epoch.'),
  nodejs_heap_size_used_bytes: own('gauge', [], 'Heap in use, in bytes.'),
} as const satisfies Record<string, MetricFacts>

export type MetricName = keyof typeof METRICS

type OfType<T extends MetricFacts['type']> = {
  [N in MetricName]: (typeof METRICS)[N]['type'] extends T ? N : never
}[MetricName]
export type CounterName = OfType<'counter'>
export type GaugeName = OfType<'gauge'>
export type HistogramName = OfType<'histogram'>

/** Values of a metric's labels, in the order in which it has them. */
export type LabelValues<N extends MetricName> = TextOfEach<(typeof METRICS)[N]['labels']>

/** A tuple of texts as long as this one. */
type TextOfEach<L extends readonly string[]> = { readonly [K in keyof L]: string }
