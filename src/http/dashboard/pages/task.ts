import { html } from 'hono/html'
import type { LedgerRun, OperatorAction, TaskRow } from '../../../tables/dashboard.ts'
import type { PollerStatus, ProcessorStatus } from '../../../tables/status.ts'
import { span } from '../../../kit/span.ts'
import type { RangeLook } from '../../dashboardPort.ts'
import { mark } from '../view/marks.ts'
import { facts, section } from '../view/section.ts'
import { counted, joined, NONE, outside, plain, spanOr, time, whole, type Html } from '../view/text.ts'
import { actionsTable } from './actions.ts'
import { runsTable } from './runs.ts'

/** What a dry run was for, and what it found. */
export interface DryRun {
  readonly from: string
  readonly to: string
  readonly includeForgotten: boolean
  /** Undefined: it was not run; `refused` says why. */
  readonly look: RangeLook | undefined
  readonly refused: string | undefined
}

export interface TaskState {
  readonly task: TaskRow
  readonly poller: PollerStatus | undefined
  readonly processor: ProcessorStatus | undefined
  readonly runs: readonly LedgerRun[]
  readonly actions: readonly OperatorAction[]
  readonly formToken: string | undefined
  /** This instance has the poller in its config. */
  readonly canReplay: boolean
  readonly dryRun: DryRun | undefined
}

export function task(state: TaskState): Html {
  const { task: row, runs, actions } = state
  const isPoller = row.kind === 'poller'
  return html`<header class="title">
      <h1>${outside(row.task_name)}</h1>
      <p>${stateOf(row)} <span class="dim">${row.kind}${row.led ? ', led' : ''}</span></p>
    </header>
    ${buttons(state)}
    <div class="columns">${section('facts', 'Facts', factsOf(state))} ${isPoller ? replay(state) : ''}</div>
    ${isPoller ? section('runs', 'Newest runs', runsTable(runs, true), { aside: html`<a href="/runs?poller=${encodeURIComponent(row.task_name)}">all of them</a>` }) : ''}
    ${section('actions', 'What operators did', actionsTable(actions))}`
}

function stateOf({ orphaned, paused, paused_by: by, paused_seconds: seconds }: TaskRow): Html {
  if (!paused) return orphaned ? mark('quiet', 'in no config') : mark('good', 'runs')
  return mark(
    'watch',
    html`paused${by === null ? '' : html` by ${outside(by)}`}${seconds === null ? '' : ` for ${span(seconds)}`}`,
  )
}

/** A form of one button, or of a few. */
function buttons({ task: row, formToken }: TaskState): Html | string {
  if (formToken === undefined) return ''
  return html`<form method="post" action="/tasks/${encodeURIComponent(row.task_name)}" class="buttons">
    <input type="hidden" name="form_token" value="${formToken}" />
    ${
      row.paused
        ? html`<button name="action" value="resume" class="main">Resume</button>`
        : html`<button name="action" value="pause">Pause</button>`
    }
    ${row.kind === 'poller' && !row.paused ? html`<button name="action" value="poll">Poll now</button>` : ''}
  </form>`
}

function factsOf({ task: row, poller, processor }: TaskState): Html {
  const rows: (readonly [string, Html | string | number])[] = []
  if (poller !== undefined)
    rows.push(
      [
        'Leader',
        poller.leader === null
          ? mark('act', 'no leader')
          : html`${outside(poller.leader)} <span class="dim">term ${poller.term ?? '?'}</span>`,
      ],
      ['Source', poller.source_table === null ? NONE : outside(poller.source_table)],
      ['Edge', time(poller.edge)],
      ['Edge lag', spanOr(poller.edge_lag_seconds)],
      ['Lag', spanOr(poller.lag_seconds)],
      ['Every', html`${spanOr(poller.interval_seconds)}${poller.wake ? ', and woken by inserts' : ''}`],
      [
        'Taken in',
        html`<a href="/messages?source=${encodeURIComponent(row.task_name)}"
            >${counted(poller.rows_total ?? 0, 'row')}</a
          >, ${whole(poller.late_rows_total ?? 0)} of them late`,
      ],
      ['Forgotten before', row.forgotten_before === null ? NONE : time(row.forgotten_before)],
    )
  if (processor !== undefined)
    rows.push(
      [
        'Works on',
        !processor.exclusive
          ? 'every instance'
          : processor.leader === null
            ? mark('act', 'no leader')
            : html`${outside(processor.leader)} <span class="dim">term ${processor.term ?? '?'}</span>`,
      ],
      [
        'Takes from',
        joined(
          (processor.sources ?? []).map(
            (source) => html`<a href="/messages?source=${encodeURIComponent(source)}">${outside(source)}</a>`,
          ),
        ),
      ],
      ['Waiting', whole(processor.waiting)],
      ['In work', whole(processor.processing)],
      ['To be retried', whole(processor.failed)],
      ['Given up', processor.dead === 0 ? '0' : mark('act', whole(processor.dead))],
      ['Oldest open', spanOr(processor.oldest_open_seconds)],
    )
  rows.push(
    ['Instances that have it', row.instances.length === 0 ? NONE : joined(row.instances.map(outside))],
    ['Registered by release', outside(row.release)],
  )
  return facts(rows)
}

function replay({ task: row, formToken, canReplay, dryRun }: TaskState): Html {
  const { from = '', to = '', includeForgotten = false } = dryRun ?? {}
  const body = !canReplay
    ? html`<p class="nothing">
        This instance does not have the poller in its config; <code>tidemark replay</code> can do it.
      </p>`
    : formToken === undefined
      ? html`<p class="nothing">
          Finds rows of a range that are not in the inbox, and takes them in. For whoever has logged in.
        </p>`
      : html`<form method="post" action="/tasks/${encodeURIComponent(row.task_name)}" class="filters replay">
            <input type="hidden" name="form_token" value="${formToken}" />
            <label class="field"
              ><span>Written from (UTC)</span
              ><input name="from" type="datetime-local" step="1" required value="${plain(from)}"
            /></label>
            <label class="field"
              ><span>before (UTC)</span
              ><input name="to" type="datetime-local" step="1" required value="${plain(to)}"
            /></label>
            <label class="choice field-wide">
              <input
                type="checkbox"
                name="include_forgotten"
                value="1"
                ${includeForgotten ? 'checked' : ''}
              />
              <span>also what retention has forgotten, which may then be processed a second time</span>
            </label>
            <div class="buttons">
              <button name="action" value="look" class="main">Look first</button>
              ${dryRun?.look === undefined ? '' : html`<button name="action" value="replay" class="danger" data-confirm="Take these rows in?">Take them in</button>`}
            </div>
          </form>
          ${dryRun === undefined ? '' : found(dryRun)}`
  return section('replay', 'Replay', body, { aside: 'looks before it writes' })
}

function found({ look, refused, includeForgotten }: DryRun): Html {
  if (look === undefined)
    return html`<p class="notice notice-refused" role="alert">${outside(refused ?? '')}</p>`
  const { missing, waiting, forgotten } = look
  const line = (n: number, text: Html | string, first: readonly string[]): Html | string =>
    n === 0
      ? ''
      : html`<li>
          <b>${whole(n)}</b> ${text}:
          <span class="id">${joined(first.map(outside))}${n > first.length ? ', …' : ''}</span>
        </li>`
  return html`<div class="dry-run" role="status">
    <p>
      ${missing + waiting + forgotten === 0 ? mark('good', 'nothing is missing') : mark('watch', `${whole(missing + waiting + forgotten)} not in the inbox`)}
      of ${counted(look.looked, 'row')}. Nothing was changed.
    </p>
    <ul>
      ${line(missing, 'never taken in', look.firstMissing)}
      ${line(waiting, 'not read yet, which the next pass takes in', look.firstWaiting)}
      ${line(forgotten, includeForgotten ? 'forgotten by retention; nobody can know whether they were processed' : 'forgotten by retention, which are left out', look.firstForgotten)}
    </ul>
  </div>`
}
