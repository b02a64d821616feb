import { html } from 'hono/html'
import { span } from '../../../kit/span.ts'
import type { AgeCount } from '../../../tables/dashboard.ts'
import type {
  PauseStatus,
  PollerStatus,
  ProcessorStatus,
  StatusDocument,
  SlotStatus,
} from '../../../tables/status.ts'
import { pathOf, shownFinding, shownLevel } from '../verdict.ts'
import { bar, tideGauge } from '../view/gauge.ts'
import { mark, outcomeMark, type Tone } from '../view/marks.ts'
import { section } from '../view/section.ts'
import { table } from '../view/table.ts'
import { counted, EMPTY, joined, NONE, outside, since, spanOr, time, whole, type Html } from '../view/text.ts'
import { changes, instances } from './fleet.ts'

/** What *Now* shows. */
export interface NowState {
  readonly status: StatusDocument
  readonly ages: readonly AgeCount[]
  /** Messages a second that were done, by source, over the newest whole minute; undefined: nobody knows. */
  readonly rates: ReadonlyMap<string, number> | undefined
}

/** The body of the page, which news replace as a whole. */
export function now(state: NowState): Html {
  const { status } = state
  const { verdict } = status
  const level = shownLevel(verdict)
  return html`<div id="now" data-level="${level}">
    <header class="verdict verdict-${level}">
      <h1>${outside(verdict.sentence)}</h1>
      ${
        verdict.findings.length === 0
          ? ''
          : html`<ul class="findings">
              ${verdict.findings.map(
                (finding) =>
                  html`<li>
                    <a href="${pathOf(finding)}">${mark(shownFinding(finding), outside(finding.text))}</a>
                    ${finding.remedy === null ? '' : html`<code class="dim">${outside(finding.remedy)}</code>`}
                  </li>`,
              )}
            </ul>`
      }
      <p class="as-of">
        As of ${time(status.at)}
        <span class="live" id="live" data-live="off" hidden></span>
      </p>
    </header>
    ${pollers(status)} ${processors(state)} ${backlog(state)} ${slots(status)} ${circuits(status)}
    ${instances(status)} ${changes(status)}
  </div>`
}

export function taskLink(name: string): Html {
  return html`<a href="/tasks/${encodeURIComponent(name)}">${outside(name)}</a>`
}

/** Whether somebody holds a task, or nobody has it. */
export function heldMark(task: PauseStatus, running: Html): Html {
  if (task.orphaned) return mark('quiet', 'in no config')
  if (!task.paused) return running
  return mark('watch', html`paused${task.paused_by === null ? '' : html` by ${outside(task.paused_by)}`}`)
}

function pollers({ pollers, at }: StatusDocument): Html {
  const led = (poller: PollerStatus): Html =>
    poller.leader === null
      ? mark('act', 'no leader')
      : html`${outside(poller.leader)} <span class="dim">term ${poller.term ?? '?'}</span>`
  return section(
    'pollers',
    'Pollers',
    table<PollerStatus>(
      'Pollers',
      [
        { head: 'Poller', row: true, cell: ({ poller }) => taskLink(poller) },
        { head: 'Leader', cell: (poller) => heldMark(poller, led(poller)) },
        { head: 'Tide', cell: (poller) => tideGauge(poller.edge_lag_seconds, poller.lag_seconds) },
        { head: 'Lag', num: true, cell: ({ lag_seconds: lag }) => spanOr(lag) },
        {
          head: 'Edge',
          num: true,
          cell: ({ edge_lag_seconds: lag, edge }) =>
            lag === null ? time(edge) : html`<span title="${edge ?? ''}">−${span(lag)}</span>`,
        },
        {
          head: 'Last run',
          cell: ({ last_outcome: outcome, last_run_at: run, last_rows_inserted: rows }) =>
            outcome === null
              ? NONE
              : html`${outcomeMark(outcome)}
                  <span class="dim">${since(run, at)}, ${counted(rows ?? 0, 'row')}</span>`,
        },
        {
          head: 'Next run',
          num: true,
          cell: (poller) => (poller.paused ? NONE : since(poller.next_run_at, at)),
        },
        {
          head: 'Every',
          num: true,
          cell: ({ interval_seconds: s, wake }) =>
            s === null ? NONE : html`${span(s)}${wake ? html` <span class="dim">or insert</span>` : ''}`,
        },
        { head: 'Taken in', num: true, cell: ({ rows_total: rows }) => (rows === null ? NONE : whole(rows)) },
      ],
      pollers,
      'No poller is known to this database.',
    ),
    {
      aside:
        'Lag: since the newest completed pass began. Edge: everything before it is proven to be in the inbox.',
    },
  )
}

function processors({ status, rates }: NowState): Html {
  const rate = ({ sources }: ProcessorStatus): Html | string => {
    if (rates === undefined) return NONE
    const sum = (sources ?? []).reduce((total, source) => total + (rates.get(source) ?? 0), 0)
    return `${sum < 10 ? sum.toFixed(1) : whole(Math.round(sum))}/s`
  }
  const messagesOf = ({ sources }: ProcessorStatus, wanted: string, count: number): Html | string =>
    count === 0
      ? '0'
      : html`<a
          href="/messages?status=${wanted}${(sources ?? []).map((source) => `&source=${encodeURIComponent(source)}`).join('')}"
          >${whole(count)}</a
        >`
  return section(
    'processors',
    'Processors',
    table<ProcessorStatus>(
      'Processors',
      [
        { head: 'Processor', row: true, cell: ({ processor }) => taskLink(processor) },
        {
          head: 'Works on',
          cell: (processor) =>
            heldMark(
              processor,
              !processor.exclusive
                ? html`<span class="dim">every instance</span>`
                : processor.leader === null
                  ? mark('act', 'no leader')
                  : html`${outside(processor.leader)} <span class="dim">term ${processor.term ?? '?'}</span>`,
            ),
        },
        { head: 'Takes from', cell: ({ sources }) => joined((sources ?? []).map(outside)) },
        { head: 'Rate', num: true, cell: rate },
        {
          head: 'In work',
          num: true,
          cell: (processor) => messagesOf(processor, 'PROCESSING', processor.processing),
        },
        { head: 'Waiting', num: true, cell: (processor) => messagesOf(processor, 'NEW', processor.waiting) },
        {
          head: 'To be retried',
          num: true,
          cell: (processor) => messagesOf(processor, 'FAILED', processor.failed),
        },
        {
          head: 'Given up',
          num: true,
          cell: (processor) =>
            processor.dead === 0 ? '0' : mark('act', messagesOf(processor, 'DEAD', processor.dead)),
        },
        { head: 'Oldest open', num: true, cell: ({ oldest_open_seconds: oldest }) => spanOr(oldest) },
      ],
      status.processors,
      'No processor is known to this database.',
    ),
  )
}

const AGES = ['under 1 min', 'under 10 min', 'under 1 h', 'older'] as const
const KINDS = [
  ['NEW', 'waiting', 'new'],
  ['PROCESSING', 'in work', 'work'],
  ['FAILED', 'to be retried', 'failed'],
  ['DEAD', 'given up', 'dead'],
] as const

function backlog({ ages }: NowState): Html {
  const all = ages.reduce((sum, { messages }) => sum + messages, 0)
  const count = (age: number, status: string): number =>
    ages.reduce((sum, one) => (one.age === age && one.status === status ? sum + one.messages : sum), 0)
  const rows = AGES.map((name, age) => ({ name, counts: KINDS.map(([status]) => count(age, status)) }))
  const body =
    all === 0
      ? html`<p class="nothing">Nothing is open.</p>`
      : table(
          'Open messages by age and status',
          [
            { head: 'Age', row: true, cell: ({ name }: (typeof rows)[number]) => name },
            {
              head: 'Share',
              wide: true,
              cell: ({ counts }) =>
                bar(KINDS.map(([, text, kind], n) => ({ name: text, value: counts[n] ?? 0, kind }))),
            },
            ...KINDS.map(([, text], n) => ({
              head: capital(text),
              num: true,
              cell: ({ counts }: (typeof rows)[number]) => whole(counts[n] ?? 0),
            })),
          ],
          rows,
          '',
        )
  return section('backlog', 'Backlog', body, { half: true, aside: `${whole(all)} open` })
}

function slots({ slots }: StatusDocument): Html {
  return section(
    'slots',
    'Slots',
    table<SlotStatus>(
      'Slots in use',
      [
        {
          head: 'Key',
          row: true,
          cell: ({ source, group_key: key }) =>
            html`<a href="/messages?source=${encodeURIComponent(source)}&key=${encodeURIComponent(key)}"
                >${outside(key)}</a
              >
              <span class="dim">${outside(source)}</span>`,
        },
        {
          head: 'In use',
          num: true,
          cell: ({ in_use: used, max_slots: most }) =>
            `${whole(used)} of ${most === null ? '∞' : whole(most)}`,
        },
        { head: 'By', cell: ({ holders }) => joined(holders.map(outside)) },
        {
          head: 'Held for',
          num: true,
          cell: ({ oldest_held_seconds: held, paused }) => (paused ? mark('watch', 'paused') : spanOr(held)),
        },
      ],
      slots,
      'No key holds a slot.',
    ),
    { half: true, aside: 'the busiest keys' },
  )
}

function circuits({ circuits }: StatusDocument): Html {
  if (circuits.length === 0) return EMPTY
  return section(
    'circuits',
    'Targets that nothing is sent to',
    table(
      'Open circuits',
      [
        { head: 'Target', row: true, cell: ({ target }: (typeof circuits)[number]) => outside(target) },
        { head: 'Instance', cell: ({ instance_id: id }) => outside(id) },
        { head: 'Because of', cell: (circuit) => mark('watch' satisfies Tone, outside(circuit.class)) },
        { head: 'For', num: true, cell: ({ open_seconds: s }) => span(s) },
        { head: 'Next try in', num: true, cell: ({ next_probe_seconds: s }) => span(s) },
      ],
      circuits,
      '',
    ),
  )
}

function capital(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1)
}
