import type { MetricName } from '../../../src/telemetry/metrics/catalog.ts'
import { numberOf } from './page.ts'
import type { Page } from './page.ts'
import { LETTERS, PARCELS } from './world.ts'
import { COLLECTIONS } from './seen.ts'
import type { Collection, Row, Seen } from './seen.ts'

/** A value as somebody tells it; null: he tells that there is none; undefined: he tells nothing. */
export type Told = number | null | undefined

/** A number, and who tells it. A new one in the status document, in a view or in the metrics has to get its line here. */
export interface Numbered {
  /** What it is a number of: rows of the status document and its view, or whatever `subjects` finds. */
  readonly of: Collection | 'tasks' | ((seen: Seen) => readonly string[])
  /** Its name in the status document and in the view. Undefined: it is in neither. */
  readonly field?: string
  /** As it is called in the view, where that has another name for it; null: the view has not got it. */
  readonly column?: string | null
  readonly metrics?: readonly MetricName[]
  /** Whoever else tells it. */
  readonly others?: (seen: Seen, subject: string) => Readonly<Record<string, Told>>
  /** It grows with the clock; every reader is taken back to the same moment. */
  readonly grows?: boolean
}

const LIVING_TASK: Numbered['of'] = ({ http }) => [
  ...http.pollers.map(({ poller }) => poller),
  ...http.processors.map(({ processor }) => processor),
  ...http.jobs.map(({ job }) => job),
]
const SOURCES: Numbered['of'] = () => ['orders', 'notes', 'drafts', 'letters', 'parcels']
const PROCESSED: Numbered['of'] = () => ['orders', 'notes', 'letters', 'parcels']
const PER_STATUS: Numbered['of'] = () =>
  ['orders', 'notes', 'drafts', 'letters', 'parcels'].flatMap((source) =>
    ['NEW', 'PROCESSING', 'FAILED', 'DEAD'].map((status) => `${source} ${status}`),
  )

const cell = (page: Page, caption: string, row: string, head: string): Told =>
  numberOf(page.tables.get(caption)?.get(row)?.get(head))
const fact = ({ tasks }: Seen, task: string, name: string): Told => numberOf(tasks.get(task)?.facts.get(name))

/** Of all that live: what each did, added up; the greatest of what each read. Undefined: none has the series. */
function values({ scrapes }: Seen, name: MetricName, labels: Record<string, string>): number[] {
  return scrapes.flatMap((scrape) => scrape.value(name, labels) ?? [])
}
const sum = (seen: Seen, name: MetricName, labels: Record<string, string>): Told => {
  const found = values(seen, name, labels)
  return found.length === 0 ? undefined : found.reduce((all, one) => all + one, 0)
}
const most = (seen: Seen, name: MetricName, labels: Record<string, string>): Told => {
  const found = values(seen, name, labels)
  return found.length === 0 ? undefined : Math.max(...found)
}
const counted = ({ counted: all }: Seen, what: string, key: string): number => all[what]?.get(key) ?? 0
const sourcesOf = ({ http }: Seen, name: string): readonly string[] =>
  http.processors.find(({ processor }) => processor === name)?.sources ?? []
const total = (some: readonly Told[]): Told =>
  some.includes(undefined) ? undefined : some.reduce<number>((all, one) => all + (one ?? 0), 0)

/** Messages of a processor in one status. */
function messages(field: string, status: string, head: string): Numbered {
  return {
    of: 'processors',
    field,
    others: (seen, name) => ({
      'the inbox': total(
        sourcesOf(seen, name).map((source) => counted(seen, 'inbox', `${source} ${status}`)),
      ),
      '/metrics': total(
        sourcesOf(seen, name).map((source) => most(seen, 'tidemark_queue_depth', { source, status })),
      ),
      '/': cell(seen.pages.now, 'Processors', name, head),
      'its page': fact(seen, name, head),
    }),
  }
}

/** Messages or attempts of a source that the living have counted. */
function done(metric: MetricName, told: (seen: Seen, source: string) => number, of = PROCESSED): Numbered {
  return {
    of,
    metrics: [metric],
    others: (seen, source) => ({
      '/metrics': sum(seen, metric, { source }),
      'the inbox': told(seen, source),
    }),
  }
}

export const NUMBERS: readonly Numbered[] = [
  {
    of: 'pollers',
    field: 'rows_total',
    metrics: ['tidemark_poll_rows_total'],
    others: (seen, poller) => ({
      'the inbox': counted(seen, 'sources', poller),
      '/metrics': sum(seen, 'tidemark_poll_rows_total', { poller }),
      '/': cell(seen.pages.now, 'Pollers', poller, 'Taken in'),
      'its page': fact(seen, poller, 'Taken in'),
    }),
  },
  {
    of: 'pollers',
    field: 'late_rows_total',
    metrics: ['tidemark_late_rows_total'],
    others: (seen, poller) => ({ '/metrics': sum(seen, 'tidemark_late_rows_total', { poller }) }),
  },
  {
    of: 'pollers',
    field: 'lag_seconds',
    grows: true,
    metrics: ['tidemark_watermark_lag_seconds'],
    others: (seen, poller) => ({
      '/metrics': most(seen, 'tidemark_watermark_lag_seconds', { poller }),
      '/': cell(seen.pages.now, 'Pollers', poller, 'Lag'),
      'its page': fact(seen, poller, 'Lag'),
    }),
  },
  {
    of: 'pollers',
    field: 'edge_lag_seconds',
    grows: true,
    metrics: ['tidemark_edge_lag_seconds'],
    others: (seen, poller) => ({
      '/metrics': most(seen, 'tidemark_edge_lag_seconds', { poller }),
      '/': cell(seen.pages.now, 'Pollers', poller, 'Edge'),
      'its page': fact(seen, poller, 'Edge lag'),
    }),
  },
  {
    of: 'pollers',
    field: 'interval_seconds',
    metrics: ['tidemark_poll_interval_seconds'],
    others: (seen, poller) => ({
      '/metrics': most(seen, 'tidemark_poll_interval_seconds', { poller }),
      '/': cell(seen.pages.now, 'Pollers', poller, 'Every'),
      'its page': fact(seen, poller, 'Every'),
    }),
  },
  {
    of: 'pollers',
    field: 'last_rows_inserted',
    others: (seen, poller) => ({
      '/': numberOf(
        /, ([\d,]+) rows?/.exec(
          seen.pages.now.tables.get('Pollers')?.get(poller)?.get('Last run') ?? '',
        )?.[1],
      ),
    }),
  },
  { of: 'pollers', field: 'term' },
  { of: 'pollers', field: 'id' },
  messages('waiting', 'NEW', 'Waiting'),
  messages('processing', 'PROCESSING', 'In work'),
  messages('failed', 'FAILED', 'To be retried'),
  messages('dead', 'DEAD', 'Given up'),
  {
    of: 'processors',
    field: 'processing',
    others: (seen, name) => ({
      '/health': total(
        seen.health.map(({ checks }) => (checks.processors['in_work'] as Record<string, number>)[name]),
      ),
    }),
  },
  {
    of: 'processors',
    field: 'oldest_open_seconds',
    grows: true,
    metrics: ['tidemark_oldest_message_age_seconds'],
    others: (seen, name) => ({
      '/metrics': Math.max(
        ...sourcesOf(seen, name).map(
          (source) => most(seen, 'tidemark_oldest_message_age_seconds', { source }) ?? Number.NaN,
        ),
      ),
      '/': cell(seen.pages.now, 'Processors', name, 'Oldest open'),
      'its page': fact(seen, name, 'Oldest open'),
    }),
  },
  // Since when one could have been claimed: none can, of those that are not held.
  { of: 'processors', field: 'waited_seconds', column: null, grows: true },
  { of: 'processors', field: 'term' },
  { of: 'processors', field: 'id' },
  { of: 'jobs', field: 'id' },
  { of: 'tasks', field: 'paused_seconds', grows: true },
  {
    of: 'slots',
    field: 'in_use',
    metrics: ['tidemark_slots_in_use'],
    others: (seen, subject) => {
      const [source = '', key = ''] = subject.split(' ')
      const shown = seen.pages.now.tables.get('Slots in use')?.get(`${key} ${source}`)
      return {
        '/metrics': most(seen, 'tidemark_slots_in_use', { source, group_key: key }),
        '/': numberOf(shown?.get('In use')),
      }
    },
  },
  {
    of: 'slots',
    field: 'max_slots',
    others: (seen, subject) => {
      const [source = '', key = ''] = subject.split(' ')
      const shown = seen.pages.now.tables.get('Slots in use')?.get(`${key} ${source}`)?.get('In use')
      return { '/': numberOf(/ of (\d+)/.exec(shown ?? '')?.[1]) }
    },
  },
  { of: 'slots', field: 'oldest_held_seconds', column: null, grows: true },
  { of: 'leaders', field: 'term' },
  { of: 'leaders', field: 'led_seconds', column: null, grows: true },
  { of: 'leader_changes', field: 'term' },
  { of: 'leader_changes', field: 'change_id' },
  { of: 'leader_changes', field: 'gap_ms' },
  { of: 'leader_changes', field: 'seconds_ago', column: null, grows: true },
  { of: 'circuits', field: 'open_seconds', grows: true },
  { of: 'circuits', field: 'next_probe_seconds' },
  {
    of: PER_STATUS,
    metrics: ['tidemark_queue_depth'],
    others: (seen, subject) => {
      const [source = '', status = ''] = subject.split(' ')
      return {
        'the inbox': counted(seen, 'inbox', subject),
        '/metrics': most(seen, 'tidemark_queue_depth', { source, status }),
      }
    },
  },
  {
    of: () => ['NEW waiting', 'PROCESSING in work', 'FAILED to be retried', 'DEAD given up'],
    others: (seen, subject) => {
      const [status = ''] = subject.split(' ')
      const head = subject.slice(status.length + 1)
      const ages = [...(seen.pages.now.tables.get('Open messages by age and status')?.values() ?? [])]
      return {
        'the inbox': total(
          [...(seen.counted['inbox'] ?? [])].flatMap(([key, n]) => (key.endsWith(` ${status}`) ? [n] : [])),
        ),
        '/': total(ages.map((row) => numberOf(row.get(head.slice(0, 1).toUpperCase() + head.slice(1))))),
      }
    },
  },
  {
    of: SOURCES,
    metrics: ['tidemark_messages_overdue'],
    others: (seen, source) => ({
      'the inbox': counted(seen, 'overdue', source),
      '/metrics': most(seen, 'tidemark_messages_overdue', { source }),
    }),
  },
  {
    of: SOURCES,
    metrics: ['tidemark_messages_stuck'],
    others: (seen, source) => ({
      '/metrics': most(seen, 'tidemark_messages_stuck', { source }),
      'what verify finds': seen.verifySql.find(({ name }) => name === 'in_work_has_a_living_owner')?.found,
    }),
  },
  done('tidemark_messages_processed_total', (seen, source) => counted(seen, 'inbox', `${source} DONE`)),
  done('tidemark_messages_failed_total', (seen, source) => counted(seen, 'attempts', source)),
  done('tidemark_messages_dead_total', (seen, source) => counted(seen, 'inbox', `${source} DEAD`)),
  done('tidemark_messages_interrupted_total', () => 0),
  done('tidemark_messages_taken_in_total', (seen, source) => counted(seen, 'sources', source), SOURCES),
  {
    of: (seen) => [...(seen.counted['runs'] ?? new Map<string, number>()).keys()],
    metrics: ['tidemark_poll_runs_total'],
    others: (seen, subject) => {
      const [poller = '', outcome = ''] = subject.split(' ')
      return {
        'the ledger': counted(seen, 'runs', subject),
        '/metrics': sum(seen, 'tidemark_poll_runs_total', { poller, outcome }),
      }
    },
  },
  {
    of: (seen) => [...(seen.counted['changes'] ?? new Map<string, number>()).keys()],
    metrics: ['tidemark_leader_changes_total'],
    others: (seen, subject) => {
      const [task = '', reason = ''] = subject.split(' ')
      return {
        leader_change: counted(seen, 'changes', subject),
        '/metrics': sum(seen, 'tidemark_leader_changes_total', { task, reason }),
      }
    },
  },
  {
    of: ({ http }) => http.leaders.map(({ task_name: task }) => task),
    metrics: ['tidemark_is_leader'],
    others: (seen, task) => ({
      '/metrics': sum(seen, 'tidemark_is_leader', { task }),
      '/health': seen.health.filter(({ checks }) => (checks.leaders['leads'] as string[]).includes(task))
        .length,
      status: seen.http.instances.filter(({ leads }) => leads.includes(task)).length,
    }),
  },
  {
    of: LIVING_TASK,
    metrics: ['tidemark_task_paused'],
    others: (seen, task) => ({
      '/metrics': most(seen, 'tidemark_task_paused', { task }),
      task_status: Number(
        seen.views.get('task_status')?.find((row) => row['task_name'] === task)?.['paused'],
      ),
      'its page': Number(/\bpaused by\b/.test(seen.tasks.get(task)?.text ?? '')),
    }),
  },
  {
    of: () => ['ready blue', 'ready green', 'lost green', 'lost blue', 'draining green', 'starting blue'],
    metrics: ['tidemark_instances'],
    others: (seen, subject) => {
      const [state = '', release = ''] = subject.split(' ')
      const matching = (rows: readonly Row[]): number =>
        rows.filter((row) => row['state'] === state && row['release'] === release).length
      return {
        '/metrics': most(seen, 'tidemark_instances', { state, release }),
        status: matching(seen.http.instances as unknown as readonly Row[]),
        instance_status: matching(seen.views.get('instance_status') ?? []),
      }
    },
  },
  {
    of: () => ['that run'],
    others: (seen) => ({
      '/': numberOf(seen.pages.now.asides.get('instances')),
      instance_status: (seen.views.get('instance_status') ?? []).filter(({ state }) => state !== 'stopped')
        .length,
    }),
  },
  {
    of: ({ verifySql }) => verifySql.map(({ name }) => name),
    metrics: ['tidemark_verify_ok', 'tidemark_verify_unknown'],
    others: (seen, check) => ({
      'verify()': Number(seen.verifySql.find(({ name }) => name === check)?.ok),
      'tidemark verify': Number(seen.verifyCli.find(({ name }) => name === check)?.ok),
      '/metrics': most(seen, 'tidemark_verify_ok', { check }),
      'not unknown': 1 - (most(seen, 'tidemark_verify_unknown', { check }) ?? Number.NaN),
      '/verify': Number(seen.pages.verify.text.includes('every invariant holds')),
    }),
  },
  {
    of: () => ['letters', 'parcels'],
    metrics: ['tidemark_intake_requests_total'],
    others: (seen, source) => ({
      '/metrics': sum(seen, 'tidemark_intake_requests_total', { source, status: '202' }),
      'what was sent': source === 'letters' ? LETTERS : PARCELS,
    }),
  },
  {
    of: () => ['instances that are ready'],
    metrics: ['tidemark_ready', 'tidemark_database_up'],
    others: (seen) => ({
      '/metrics': sum(seen, 'tidemark_ready', {}),
      '/ready': seen.ready.filter((code) => code === 200).length,
      '/health': seen.health.filter(({ database, ready }) => database === 'connected' && ready === 'ready')
        .length,
      database: sum(seen, 'tidemark_database_up', {}),
    }),
  },
]

export function subjectsOf({ of }: Numbered, seen: Seen): readonly string[] {
  if (typeof of === 'function') return of(seen)
  if (of === 'tasks') return (seen.views.get('task_status') ?? []).map((row) => String(row['task_name']))
  return seen.http[of].map((row) => keyOf(of, row as unknown as Row))
}

export function keyOf(collection: Collection, row: Row): string {
  return COLLECTIONS[collection].key.map((name) => String(row[name])).join(' ')
}
