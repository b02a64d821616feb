import type { EventName, Events } from '../eventFields.ts'
import type { LineFields, Log } from '../log.ts'
import type { Tallies } from './tally.ts'

/** What the events of the log add to the counters. `message_done` is not here: most of its lines are never made. */
type Counted = {
  readonly [E in EventName]?: (fields: Events[E] & LineFields, tallies: Tallies) => void
}

const COUNTED: Counted = {
  message_failed: ({ source }, tallies) => tallies.add('tidemark_messages_failed_total', [source]),
  message_dead({ source }, tallies) {
    tallies.add('tidemark_messages_failed_total', [source])
    tallies.add('tidemark_messages_dead_total', [source])
  },
  message_interrupted({ source, reason }, tallies) {
    // Not given back: whoever has it now took it back, and counts that.
    if (reason !== 'claimed elsewhere') tallies.add('tidemark_messages_interrupted_total', [source])
  },
  reclaimed_instance: ({ reason, messages }, tallies) =>
    tallies.add('tidemark_messages_reclaimed_total', [reason.replaceAll(' ', '_')], messages),
  row_refused({ poller }, tallies) {
    tallies.add('tidemark_messages_dead_total', [poller])
  },
  sweep_found({ poller, rows }, tallies) {
    tallies.add('tidemark_sweep_found_total', [poller], rows)
    tallies.add('tidemark_messages_taken_in_total', [poller], rows)
  },

  leader_elected: ({ task }, tallies) => tallies.add('tidemark_leader_changes_total', [task, 'elected']),
  leader_took_over: ({ task, gap_ms: gapMs }, tallies) => changed(tallies, task, 'took_over', gapMs),
  leader_handed_over({ task, from, gap_ms: gapMs }, tallies) {
    // Both sides say it; the one that leads from now on names the other.
    if (from !== undefined) changed(tallies, task, 'handed_over', gapMs)
  },
  stale_write_refused: ({ task }, tallies) => tallies.add('tidemark_stale_writes_refused_total', [task]),

  job_done: ({ job, duration_ms: durationMs }, tallies) => ran(tallies, job, 'done', durationMs),
  duty_done: ({ job, duration_ms: durationMs }, tallies) => ran(tallies, job, 'done', durationMs),
  job_failed: ({ job, duration_ms: durationMs }, tallies) => ran(tallies, job, 'failed', durationMs),
}

function changed(
  tallies: Tallies,
  task: string,
  reason: 'took_over' | 'handed_over',
  gapMs: number | null | undefined,
): void {
  tallies.add('tidemark_leader_changes_total', [task, reason])
  if (gapMs != null) tallies.buckets('tidemark_leader_gap_seconds', [reason]).observe(gapMs / 1000)
}

function ran(tallies: Tallies, job: string, outcome: 'done' | 'failed', durationMs?: number): void {
  tallies.add('tidemark_jobs_total', [job, outcome])
  if (durationMs !== undefined)
    tallies.buckets('tidemark_job_duration_seconds', [job]).observe(durationMs / 1000)
}

/**
 * A log whose events are counted as they are said, before any line is left out: neither its level nor its sampling changes a
 * number. An event that is counted is never asked to be left unsaid, so that nobody can spare himself both.
 */
export function countingLog(log: Log, tallies: Tallies): Log {
  return {
    event(event, msg, fields) {
      // Of the event's own entry, which the type of a lookup by a variable does not say.
      const count = COUNTED[event] as ((fields: unknown, tallies: Tallies) => void) | undefined
      count?.(fields, tallies)
      log.event(event, msg, fields)
    },
    leavesOut: (event) => COUNTED[event] === undefined && log.leavesOut?.(event) === true,
    child: (bindings) => countingLog(log.child(bindings), tallies),
    close: () => log.close(),
  }
}
