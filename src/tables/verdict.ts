/**
 * The verdict: one sentence of what a status comes to, and the findings behind it. Command line, HTTP and dashboard share it,
 * so that all say the same.
 *
 * A finding *needs a person* when waiting mends nothing: nobody leads, nothing is done, messages were given up. Everything else
 * that is out of the ordinary is a *note*: somebody wished it so (a pause), it mends itself (a drain, a takeover), or it costs
 * nothing (an edge that a long transaction holds).
 */
import { span } from '../kit/span.ts'
import type {
  InstanceStatus,
  InvariantResult,
  PollerStatus,
  ProcessorStatus,
  StatusFacts,
} from './status/facts.ts'

export type FindingKind =
  | 'database_away'
  | 'no_instance'
  | 'no_leader'
  | 'pass_failed'
  | 'lag'
  | 'edge_lag'
  | 'backlog_stuck'
  | 'backlog_behind'
  | 'dead_messages'
  | 'target_away'
  | 'invariant_broken'
  | 'invariant_unknown'
  | 'orphaned'
  | 'paused'
  | 'draining'
  | 'lost'

export interface Finding {
  readonly kind: FindingKind
  readonly needs_person: boolean
  /** Task, instance, target, key or invariant that it is about; null: everything. */
  readonly subject: string | null
  /** A clause that can stand in a sentence. */
  readonly text: string
  /** What to type first; null where there is nothing to do. */
  readonly remedy: string | null
}

export interface Verdict {
  /** `well`; `note`: well, with something to know; `person`: something needs a person. */
  readonly level: 'well' | 'note' | 'person'
  readonly sentence: string
  /** What needs a person comes first. */
  readonly findings: readonly Finding[]
}

/** A leader without a completed pass for this many intervals, and so many seconds on top. As `/health` has it. */
const LAG_INTERVALS = 3
const LAG_MARGIN_S = 30

/** A transaction that is open for so long was forgotten, or is a report that somebody should know of. */
const EDGE_LAG_S = 900

/** A message could have been claimed for so long, and none of its processor is in work. */
const STUCK_S = 60

/** As before, while others are in work: there is more to do than is done. */
const BEHIND_S = 600

/** Findings that the sentence names; the rest are counted. */
const NAMED = 3

/** @param invariants where they were run, too */
export function verdictOf(status: StatusFacts, invariants: readonly InvariantResult[] = []): Verdict {
  const live = status.instances.filter(({ state }) => state !== 'stopped' && state !== 'lost')
  const hasTasks = status.pollers.length + status.processors.length + status.jobs.length > 0
  const findings = [
    ...(live.length === 0 && hasTasks ? [NO_INSTANCE] : []),
    ...status.pollers.flatMap((poller) => ofPoller(poller, live.length > 0)),
    ...status.processors.flatMap((processor) => ofProcessor(processor, live.length > 0)),
    ...status.circuits.map(({ target, class: reason, open_seconds: seconds }) =>
      person('target_away', target, `nothing is sent to ${target} for ${span(seconds)}: ${reason}`, null),
    ),
    ...ofInvariants(invariants),
    ...[...status.pollers, ...status.processors, ...status.jobs].flatMap(ofPause),
    ...status.slots.flatMap(({ paused, source, group_key: key }) =>
      paused ? [note('paused', source, `${key === '*' ? 'every key' : key} of ${source} is paused`)] : [],
    ),
    ...status.instances.flatMap(ofInstance),
  ]
  return judge(findings, () => (hasTasks ? wellText(status, live.length) : 'nothing has run here yet'))
}

/** The verdict while the database does not answer. @param reason the class of its error, or a clause */
export function verdictAway(reason: string, remedy: string | null = null): Verdict {
  const finding = person('database_away', null, `the database is away: ${reason}`, remedy)
  return judge([finding], () => '')
}

/** The verdict on the invariants alone, for `verify`. */
export function verdictOfInvariants(invariants: readonly InvariantResult[]): Verdict {
  return judge(ofInvariants(invariants), () =>
    invariants.length === 0 ? 'there is no invariant to check' : `all ${invariants.length} invariants hold`,
  )
}

function judge(found: readonly Finding[], wellClause: () => string): Verdict {
  const persons = found.filter((finding) => finding.needs_person)
  const notes = found.filter((finding) => !finding.needs_person)
  const findings = [...persons, ...notes]
  if (persons.length > 0) {
    const how = persons.length === 1 ? '1 thing needs a person' : `${persons.length} things need a person`
    return { level: 'person', sentence: `${how}: ${listed(persons)}.`, findings }
  }
  if (notes.length > 0) return { level: 'note', sentence: `All is well, but ${listed(notes)}.`, findings }
  return { level: 'well', sentence: `All is well: ${wellClause()}.`, findings }
}

function listed(findings: readonly Finding[]): string {
  const named = findings.slice(0, NAMED).map(({ text }) => text)
  const rest = findings.length - named.length
  return [...named, ...(rest > 0 ? [`and ${rest} more`] : [])].join('; ')
}

function wellText({ pollers, processors, instances }: StatusFacts, live: number): string {
  const ready = instances.filter(({ state }) => state === 'ready').length
  const oldest = Math.max(-1, ...processors.map(({ oldest_open_seconds: age }) => age ?? -1))
  const parts = [
    pollers.length > 0
      ? `${count(pollers.length, 'poller')} ${pollers.length === 1 ? 'has its' : 'have their'} leader`
      : '',
    processors.length > 0
      ? oldest < 0
        ? 'nothing is open'
        : `the oldest open message is ${span(oldest)} old`
      : '',
    `${ready} of ${count(live, 'instance')} ${ready === 1 ? 'is' : 'are'} ready`,
  ]
  return parts.filter((part) => part !== '').join(', ')
}

/** Whether a poller has completed no pass for longer than its interval explains. */
export function isLagging(lagS: number | null, everyS: number | null): boolean {
  return lagS !== null && everyS !== null && lagS > everyS * LAG_INTERVALS + LAG_MARGIN_S
}

/** Whether a message waits for longer than what is in work explains. */
export function isWaitingLong({ waited_seconds: waited, processing }: ProcessorStatus): boolean {
  return waited !== null && waited > (processing === 0 ? STUCK_S : BEHIND_S)
}

const NO_INSTANCE = person('no_instance', null, 'no instance is running', 'tidemark start')

/** `alive`: some instance is. Without one, that is the finding, and not what follows from it. */
function ofPoller(poller: PollerStatus, alive: boolean): Finding[] {
  const { poller: name, interval_seconds: every, lag_seconds: lag, edge_lag_seconds: edgeLag } = poller
  if (poller.orphaned) return alive ? [orphaned(name, 0)] : []
  if (poller.paused) return []
  if (poller.leader === null) return [noLeader(name)]
  const found: Finding[] = []
  if (poller.last_outcome === 'failed')
    found.push(
      person(
        'pass_failed',
        name,
        `the newest pass of ${name} failed: ${poller.last_error ?? ''}`,
        `tidemark poll ${name}`,
      ),
    )
  // By cron there is no interval, and a night may lie between two passes.
  if (lag !== null && every !== null && isLagging(lag, every)) {
    const text = `${name} has completed no pass for ${span(lag)}, and one is due every ${span(every)}`
    found.push(person('lag', name, text, `tidemark poll ${name}`))
  } else if (edgeLag !== null && edgeLag > EDGE_LAG_S)
    found.push(
      note(
        'edge_lag',
        name,
        `the edge of ${name} is held at ${span(edgeLag)} ago, mostly by an open transaction, which costs no row`,
      ),
    )
  return found
}

function ofProcessor(processor: ProcessorStatus, alive: boolean): Finding[] {
  const { processor: name, dead, waited_seconds: waited } = processor
  const found: Finding[] = []
  const open = processor.waiting + processor.processing + processor.failed
  if (processor.orphaned) found.push(...(alive ? [orphaned(name, open)] : []))
  else if (!processor.paused) {
    if (processor.exclusive && processor.leader === null) found.push(noLeader(name))
    else if (waited !== null && waited > STUCK_S && processor.processing === 0)
      found.push(
        person(
          'backlog_stuck',
          name,
          `${name} has nothing in work, and a message waits for ${span(waited)}`,
          `tidemark inbox list --status NEW`,
        ),
      )
    else if (waited !== null && waited > BEHIND_S)
      found.push(note('backlog_behind', name, `${name} is behind: a message waits for ${span(waited)}`))
  }
  if (dead > 0) {
    const sources = (processor.sources ?? []).map((source) => ` --source ${source}`).join('')
    found.push(
      person(
        'dead_messages',
        name,
        `${count(dead, 'message')} of ${name} ${dead === 1 ? 'is' : 'are'} DEAD`,
        `tidemark inbox list --status DEAD${sources}`,
      ),
    )
  }
  return found
}

function ofPause(task: Partial<PollerStatus & ProcessorStatus> & { readonly job?: string }): Finding[] {
  if (task.paused !== true || task.orphaned === true) return []
  const name = task.poller ?? task.processor ?? task.job ?? ''
  const by = task.paused_by == null ? '' : ` by ${task.paused_by}`
  const since = task.paused_seconds == null ? '' : ` for ${span(task.paused_seconds)}`
  return [note('paused', name, `${name} is paused${since}${by}`, `tidemark resume ${name}`)]
}

function ofInstance({ instance_id: id, state, seen_seconds_ago: seen }: InstanceStatus): Finding[] {
  if (state === 'draining') return [note('draining', id, `${id} is draining`)]
  return state === 'lost' ? [note('lost', id, `${id} is lost, last seen ${span(seen)} ago`)] : []
}

function ofInvariants(invariants: readonly InvariantResult[]): Finding[] {
  const broken = invariants.filter(({ ok }) => ok === false)
  const unknown = invariants.filter(({ ok }) => ok === null)
  return [
    ...broken.map(({ name, found }) =>
      person(
        'invariant_broken',
        name,
        `${name} does not hold (${count(found ?? 0, 'violation')})`,
        'tidemark verify',
      ),
    ),
    ...unknown.map(({ name }) =>
      person('invariant_unknown', name, `${name} could not be checked`, 'tidemark verify'),
    ),
  ]
}

function noLeader(task: string): Finding {
  return person('no_leader', task, `${task} has no leader`, 'tidemark status')
}

function orphaned(task: string, open: number): Finding {
  const text = `no instance has ${task} in its config`
  if (open === 0) return note('orphaned', task, text)
  return person(
    'orphaned',
    task,
    `${text}, and ${count(open, 'message')} ${open === 1 ? 'waits' : 'wait'} for it`,
    null,
  )
}

function person(kind: FindingKind, subject: string | null, text: string, remedy: string | null): Finding {
  return { kind, needs_person: true, subject, text, remedy }
}

function note(
  kind: FindingKind,
  subject: string | null,
  text: string,
  remedy: string | null = null,
): Finding {
  return { kind, needs_person: false, subject, text, remedy }
}

function count(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? '' : 's'}`
}
