import { DATABASE_ERRORS, DELIVERY_OUTCOMES } from './meter.ts'
import type { Tallies } from './tally.ts'

/** What a config says of which series there will be. */
export interface KnownNames {
  /** Sources that are processed here. */
  readonly sources: readonly string[]
  readonly pollers: readonly string[]
  readonly intakes: readonly string[]
  readonly led: readonly string[]
  readonly jobs: readonly string[]
  readonly delivers: boolean
}

/** As the ledger has them. */
const PASS_OUTCOMES = ['ran', 'late', 'backstop', 'coalesced', 'missed', 'fenced', 'failed']

/**
 * Makes the series that there will be, at zero. A rate sees an event only against a sample from before it, so the first
 * failure, the first takeover or the first find of a sweep would else be nobody's.
 */
export function beginAtZero(tallies: Tallies, known: KnownNames): void {
  for (const source of known.sources) {
    tallies.add('tidemark_messages_failed_total', [source], 0)
    tallies.add('tidemark_messages_dead_total', [source], 0)
    tallies.add('tidemark_messages_interrupted_total', [source], 0)
    tallies.buckets('tidemark_message_latency_seconds', [source])
    tallies.buckets('tidemark_handler_duration_seconds', [source])
  }
  for (const source of [...known.pollers, ...known.intakes])
    tallies.add('tidemark_messages_taken_in_total', [source], 0)
  for (const poller of known.pollers) {
    tallies.add('tidemark_messages_dead_total', [poller], 0)
    tallies.add('tidemark_poll_rows_total', [poller], 0)
    tallies.add('tidemark_late_rows_total', [poller], 0)
    tallies.add('tidemark_sweep_found_total', [poller], 0)
    for (const outcome of PASS_OUTCOMES) tallies.add('tidemark_poll_runs_total', [poller, outcome], 0)
  }
  for (const task of known.led) {
    tallies.add('tidemark_stale_writes_refused_total', [task], 0)
    for (const reason of ['elected', 'handed_over', 'took_over'])
      tallies.add('tidemark_leader_changes_total', [task, reason], 0)
  }
  for (const reason of ['handed_over', 'took_over']) tallies.buckets('tidemark_leader_gap_seconds', [reason])
  for (const reason of ['dead', 'frozen', 'answer_lost'])
    tallies.add('tidemark_messages_reclaimed_total', [reason], 0)
  for (const job of known.jobs)
    for (const outcome of ['done', 'failed']) tallies.add('tidemark_jobs_total', [job, outcome], 0)
  for (const what of DATABASE_ERRORS) tallies.add('tidemark_database_errors_total', [what], 0)
  if (known.delivers)
    for (const outcome of DELIVERY_OUTCOMES) tallies.add('tidemark_deliveries_total', [outcome], 0)
}
