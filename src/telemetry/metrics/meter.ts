import { errorClass } from '../../db/sqlstate.ts'
import type { ErrorClass } from '../../db/sqlstate.ts'
import type { Buckets, Tallies } from './tally.ts'

/**
 * What the parts of an instance tell of their work that is no event of the log, or too frequent to be one. What is an event
 * is counted where it is said (eventCounts.ts).
 */
export interface Meter {
  /** A message is DONE, so long after the time of its source row or its intake. Thousands a second. */
  done(source: string, latencyMs: number): void
  /** A handler call has ended, well or not. Thousands a second. */
  handled(source: string, durationMs: number): void
  /** A page or a tail put rows into the inbox; `late` of them were behind the greatest cursor. */
  polled(poller: string, rows: number, late: number): void
  /** A pass is in the ledger with this outcome. */
  passed(poller: string, outcome: string): void
  /** A request to `POST /inbox/:source` put messages into the inbox. */
  takenIn(source: string, messages: number): void
  /** A request to `POST /inbox/:source` was answered; one source at most that the config has not. */
  intakeAnswered(source: string, status: number): void
  delivered(outcome: DeliveryOutcome): void
  /** A statement failed, or a connection broke. */
  databaseFailed(error: unknown): void
  /** An HTTP request is under way; call the result when it is answered. */
  requested(): () => void
}

export const DELIVERY_OUTCOMES = [
  'delivered',
  'refused',
  'failed',
  'timeout',
  'broken',
  'unreachable',
  'held',
  'interrupted',
] as const
export type DeliveryOutcome = (typeof DELIVERY_OUTCOMES)[number]

export const DATABASE_ERRORS = ['deadlock', 'serialization', 'timeout', 'connection', 'other'] as const
type DatabaseError = (typeof DATABASE_ERRORS)[number]

const DATABASE_ERROR_OF: Partial<Record<ErrorClass, DatabaseError>> = {
  deadlock: 'deadlock',
  serialization: 'serialization',
  timeout: 'timeout',
  lock_timeout: 'timeout',
  connection: 'connection',
  pool_exhausted: 'connection',
  too_many_connections: 'connection',
  authentication: 'connection',
  missing_database: 'connection',
}

/** Counts nothing: for parts that are used without a runner. */
export const SILENT_METER: Meter = {
  done: () => undefined,
  handled: () => undefined,
  polled: () => undefined,
  passed: () => undefined,
  takenIn: () => undefined,
  intakeAnswered: () => undefined,
  delivered: () => undefined,
  databaseFailed: () => undefined,
  requested: () => () => undefined,
}

/**
 * By source alone: what asks for a series by its labels costs more than the counting, and messages of several sources come in
 * turn. What came last is mostly what comes next.
 */
class PerSource {
  readonly #find: (source: string) => Buckets
  readonly #known = new Map<string, Buckets>()
  #source: string | undefined
  #buckets: Buckets | undefined

  constructor(find: (source: string) => Buckets) {
    this.#find = find
  }

  observe(source: string, ms: number): void {
    let buckets = this.#buckets
    if (buckets === undefined || source !== this.#source) {
      buckets = this.#known.get(source)
      if (buckets === undefined) this.#known.set(source, (buckets = this.#find(source)))
      this.#source = source
      this.#buckets = buckets
    }
    buckets.observe(ms / 1000)
  }
}

export interface CountingMeter extends Meter {
  /** HTTP requests under way. */
  readonly activeRequests: number
}

export function createMeter(tallies: Tallies): CountingMeter {
  const latency = new PerSource((source) => tallies.buckets('tidemark_message_latency_seconds', [source]))
  const handlers = new PerSource((source) => tallies.buckets('tidemark_handler_duration_seconds', [source]))
  let activeRequests = 0
  return {
    get activeRequests() {
      return activeRequests
    },
    // Each has a latency: how many they are, its histogram knows.
    done: (source, latencyMs) => latency.observe(source, latencyMs),
    handled: (source, durationMs) => handlers.observe(source, durationMs),
    polled(poller, rows, late) {
      tallies.add('tidemark_messages_taken_in_total', [poller], rows)
      tallies.add('tidemark_poll_rows_total', [poller], rows)
      tallies.add('tidemark_late_rows_total', [poller], late)
    },
    passed: (poller, outcome) => tallies.add('tidemark_poll_runs_total', [poller, outcome]),
    takenIn: (source, messages) => tallies.add('tidemark_messages_taken_in_total', [source], messages),
    intakeAnswered: (source, status) =>
      tallies.add('tidemark_intake_requests_total', [source, String(status)]),
    delivered: (outcome) => tallies.add('tidemark_deliveries_total', [outcome]),
    databaseFailed: (error) =>
      tallies.add('tidemark_database_errors_total', [DATABASE_ERROR_OF[errorClass(error)] ?? 'other']),
    requested() {
      activeRequests += 1
      return () => void (activeRequests -= 1)
    },
  }
}
