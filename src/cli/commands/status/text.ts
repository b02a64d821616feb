import { ago, span } from '../../../kit/span.ts'
import type {
  InstanceStatus,
  PauseStatus,
  PollerStatus,
  ProcessorStatus,
  StatusDocument,
} from '../../../tables/status.ts'
import { isLagging, isWaitingLong } from '../../../tables/verdict.ts'
import { verdictLine } from '../../sight.ts'
import { printable } from '../../../kit/printable.ts'
import { coloured, grouped, section } from '../../terminal.ts'

/** A status for people: the verdict, then a table for each kind of thing. */
export function statusText(status: StatusDocument): string {
  const parts = [
    verdictLine(status.verdict),
    pollers(status),
    processors(status),
    jobs(status),
    circuits(status),
    slots(status),
    leaders(status),
    changes(status),
    instances(status),
  ]
  return parts.filter((part) => part !== '').join('\n\n')
}

function pollers({ pollers }: StatusDocument): string {
  const failures = pollers.flatMap(({ poller, last_error: error, last_outcome: outcome }) =>
    error === null || outcome === 'missed' ? [] : [`${coloured('red', `${poller} failed:`)} ${error}`],
  )
  const table = section(
    'Pollers',
    [
      'id',
      'poller',
      'source',
      'state',
      'every',
      'woken',
      'leader',
      'last pass',
      'lag',
      'edge lag',
      'rows',
      'late',
    ],
    pollers.map((poller) => [
      String(poller.id),
      poller.poller,
      poller.source_table ?? '-',
      pollerState(poller),
      span(poller.interval_seconds),
      poller.wake ? 'by inserts' : '-',
      poller.leader ?? '-',
      poller.last_outcome === null ? '-' : `${poller.last_outcome}, ${poller.last_rows_inserted ?? 0} rows`,
      isLate(poller) ? coloured('red', span(poller.lag_seconds)) : span(poller.lag_seconds),
      span(poller.edge_lag_seconds),
      grouped(poller.rows_total ?? 0),
      grouped(poller.late_rows_total ?? 0),
    ]),
    'none is known to this database',
  )
  return [table, ...failures].join('\n')
}

function isLate({ lag_seconds: lag, interval_seconds: every, paused, orphaned }: PollerStatus): boolean {
  return !paused && !orphaned && isLagging(lag, every)
}

function processors({ processors }: StatusDocument): string {
  return section(
    'Processors',
    [
      'id',
      'processor',
      'of',
      'state',
      'leader',
      'waiting',
      'in work',
      'failed',
      'dead',
      'waits for',
      'oldest open',
    ],
    processors.map((processor) => [
      String(processor.id),
      processor.processor,
      processor.sources?.join(', ') ?? '-',
      stateOf(processor),
      processor.leader ?? (processor.exclusive ? coloured('red', 'none') : 'not led'),
      grouped(processor.waiting),
      grouped(processor.processing),
      processor.failed > 0 ? coloured('yellow', grouped(processor.failed)) : '0',
      processor.dead > 0 ? coloured('red', grouped(processor.dead)) : '0',
      waitOf(processor),
      span(processor.oldest_open_seconds),
    ]),
    'none is known to this database',
  )
}

function waitOf(processor: ProcessorStatus): string {
  const text = span(processor.waited_seconds)
  return isWaitingLong(processor) ? coloured('yellow', text) : text
}

function jobs({ jobs }: StatusDocument): string {
  if (jobs.length === 0) return ''
  const rows = jobs.map((job) => [String(job.id), job.job, stateOf(job)])
  return section('Jobs', ['id', 'job', 'state'], rows, '')
}

/** Left out where every target takes what it is sent. */
function circuits({ circuits }: StatusDocument): string {
  if (circuits.length === 0) return ''
  return section(
    'Targets that nothing is sent to',
    ['target', 'instance', 'because of', 'since', 'next try in'],
    circuits.map((circuit) => [
      circuit.target,
      circuit.instance_id,
      circuit.class,
      coloured('red', ago(circuit.open_seconds)),
      span(circuit.next_probe_seconds),
    ]),
    'none',
  )
}

/** Left out where none is in use or held. */
function slots({ slots }: StatusDocument): string {
  if (slots.length === 0) return ''
  return section(
    'Slots',
    ['of', 'key', 'in use', 'limit', 'longest held', 'by'],
    slots.map((slot) => [
      slot.source,
      slot.paused ? coloured('yellow', `${printable(slot.group_key)} (paused)`) : printable(slot.group_key),
      String(slot.in_use),
      slot.max_slots === null ? 'none' : String(slot.max_slots),
      span(slot.oldest_held_seconds),
      slot.holders.join(', ') || '-',
    ]),
    'none',
  )
}

function leaders({ leaders }: StatusDocument): string {
  return section(
    'Leaders',
    ['task', 'leader', 'term', 'since'],
    leaders.map(({ task_name: task, instance_id: leader, term, led_seconds: led, expired }) => [
      task,
      expired ? coloured('red', `${leader} (expired)`) : leader,
      String(term),
      ago(led),
    ]),
    'no task has a leader',
  )
}

function changes({ leader_changes: changes }: StatusDocument): string {
  return section(
    'Latest changes of leadership',
    ['when', 'task', 'from', 'to', 'term', 'reason', 'gap'],
    changes.map((change) => [
      ago(change.seconds_ago),
      change.task_name,
      change.from_instance ?? '-',
      change.to_instance,
      String(change.term),
      change.reason,
      change.gap_ms === null ? '-' : `${Math.round(change.gap_ms)} ms`,
    ]),
    'none yet',
  )
}

function instances({ at, instances }: StatusDocument): string {
  return section(
    'Instances',
    ['instance', 'state', 'release', 'region', 'leads', 'seen', 'started'],
    instances.map((instance) => [
      instance.instance_id,
      colouredState(instance.state),
      instance.release,
      instance.region ?? '-',
      instance.leads.join(', ') || '-',
      ago(instance.seen_seconds_ago),
      ago(startedSeconds(instance, at)),
    ]),
    'none has run in the last hour',
  )
}

/** By the database's clock, as all the others. */
function startedSeconds({ started_at: started }: InstanceStatus, at: string): number {
  return Math.max(0, (Date.parse(at) - Date.parse(started)) / 1000)
}

function pollerState(poller: PollerStatus): string {
  const isLeaderless = poller.leader === null && !poller.paused && !poller.orphaned
  return isLeaderless ? coloured('red', 'no leader') : stateOf(poller)
}

function stateOf({ paused, paused_by: by, paused_seconds: seconds, orphaned }: PauseStatus): string {
  if (!paused) return orphaned ? coloured('dim', 'orphaned') : 'running'
  const since = seconds === null ? '' : ` for ${span(seconds)}`
  return coloured('yellow', `paused${since}${by === null ? '' : ` by ${by}`}`)
}

function colouredState(state: string): string {
  if (state === 'ready') return coloured('green', state)
  if (state === 'lost') return coloured('red', state)
  return state === 'stopped' ? coloured('dim', state) : coloured('yellow', state)
}
