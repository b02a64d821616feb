import type { Command } from 'commander'
import { readStatus, type PauseStatus, type StatusDocument } from '../../tables/status.ts'
import { readOnly, withDatabase } from '../database.ts'
import { EXIT } from '../exitCodes.ts'
import { ago, coloured, print, printJson, printSection, span } from '../terminal.ts'
import { databaseSetup, readingVerb, type Ending, type ReadingFlags } from '../verb.ts'

/** `tidemark status`: who leads, how far the pollers are, what waits, which instances run. */
export function statusVerb(ending: Ending): Command {
  return readingVerb('status', 'leaders, pollers, backlog, processors and instances').action(
    async (flags: ReadingFlags) => {
      const { settings } = await databaseSetup(flags)
      const status = await withDatabase(settings, (client) =>
        readOnly(client, settings, () => readStatus(client)),
      )
      if (flags.json === true) printJson(status)
      else printStatus(status)
      ending.code = EXIT.done
    },
  )
}

function printStatus(status: StatusDocument): void {
  printPollers(status)
  printProcessors(status)
  printJobs(status)
  printCircuits(status)
  printSection(
    'Leaders',
    ['task', 'leader', 'term', 'since'],
    status.leaders.map(({ task_name: task, instance_id: leader, term, led_seconds: led, expired }) => [
      task,
      expired ? coloured('red', `${leader} (expired)`) : leader,
      String(term),
      ago(led),
    ]),
    'no task has a leader',
  )
  printSection(
    'Latest changes of leadership',
    ['when', 'task', 'from', 'to', 'term', 'reason', 'gap'],
    status.leader_changes.map((change) => [
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
  printSection(
    'Instances',
    ['instance', 'state', 'release', 'region', 'leads', 'seen', 'started'],
    status.instances.map((instance) => [
      instance.instance_id,
      colouredState(instance.state),
      instance.release,
      instance.region ?? '-',
      instance.leads.join(', ') || '-',
      ago(instance.seen_seconds_ago),
      instance.started_at.slice(0, 19).replace('T', ' '),
    ]),
    'none has run in the last hour',
  )
}

function printPollers({ pollers }: StatusDocument): void {
  printSection(
    'Pollers',
    ['id', 'poller', 'source', 'state', 'woken', 'leader', 'last pass', 'lag', 'edge lag', 'rows', 'late'],
    pollers.map((poller) => [
      String(poller.id),
      poller.poller,
      poller.source_table ?? '-',
      pollerState(poller),
      poller.wake ? 'by inserts' : '-',
      poller.leader ?? '-',
      poller.last_outcome === null ? '-' : `${poller.last_outcome}, ${poller.last_rows_inserted ?? 0} rows`,
      span(poller.lag_seconds),
      span(poller.edge_lag_seconds),
      String(poller.rows_total ?? 0),
      String(poller.late_rows_total ?? 0),
    ]),
    'none is known to this database',
  )
  for (const { poller, last_error: error, last_outcome: outcome } of pollers) {
    if (error !== null && outcome !== 'missed') print(`${coloured('red', `${poller} failed:`)} ${error}\n`)
  }
}

function printProcessors({ processors }: StatusDocument): void {
  printSection(
    'Processors',
    ['id', 'processor', 'of', 'state', 'leader', 'waiting', 'in work', 'failed', 'dead', 'oldest open'],
    processors.map((processor) => [
      String(processor.id),
      processor.processor,
      processor.sources?.join(', ') ?? '-',
      stateOf(processor),
      processor.leader ?? (processor.exclusive ? coloured('red', 'none') : 'not led'),
      String(processor.waiting),
      String(processor.processing),
      String(processor.failed),
      processor.dead > 0 ? coloured('red', String(processor.dead)) : '0',
      span(processor.oldest_open_seconds),
    ]),
    'none is known to this database',
  )
}

function printJobs({ jobs }: StatusDocument): void {
  if (jobs.length === 0) return
  const rows = jobs.map((job) => [String(job.id), job.job, stateOf(job)])
  printSection('Jobs', ['id', 'job', 'state'], rows, '')
}

/** Left out where every target takes what it is sent. */
function printCircuits({ circuits }: StatusDocument): void {
  if (circuits.length === 0) return
  printSection(
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

function pollerState(poller: StatusDocument['pollers'][number]): string {
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
  return state === 'lost' ? coloured('red', state) : coloured('dim', state)
}
