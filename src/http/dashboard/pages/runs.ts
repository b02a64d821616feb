import { html } from 'hono/html'
import type { LedgerRun } from '../../../tables/dashboard.ts'
import { outcomeMark } from '../view/marks.ts'
import { section } from '../view/section.ts'
import { table, type Column } from '../view/table.ts'
import { millis, NONE, outside, plain, short, time, whole, type Html } from '../view/text.ts'
import type { Found } from '../walk.ts'
import { further } from './messages.ts'

export const OUTCOMES = [
  'ran',
  'late',
  'backstop',
  'coalesced',
  'missed',
  'fenced',
  'failed',
  'reset',
] as const

export interface RunsState {
  readonly found: Found<LedgerRun>
  readonly pollers: readonly string[]
  readonly poller: string | undefined
  readonly outcomes: readonly string[]
  readonly url: string
}

export function runs({ found, pollers, poller, outcomes, url }: RunsState): Html {
  return html`<h1>Runs</h1>
    <form class="filters" method="get" action="/runs" role="search">
      <label class="field">
        <span>Poller</span>
        <select name="poller">
          <option value="">any</option>
          ${pollers.map((name) => html`<option value="${name}" ${name === poller ? 'selected' : ''}>${plain(name)}</option>`)}
        </select>
      </label>
      <fieldset class="field field-wide choices">
        <legend>Outcome</legend>
        ${OUTCOMES.map(
          (outcome) =>
            html`<label class="choice">
              <input
                type="checkbox"
                name="outcome"
                value="${outcome}"
                ${outcomes.includes(outcome) ? 'checked' : ''}
              />
              <span>${outcome}</span>
            </label>`,
        )}
      </fieldset>
      <div class="buttons"><button class="main">Show</button> <a class="button" href="/runs">Clear</a></div>
    </form>
    ${section('found', 'Newest first', html`${runsTable(found.rows)} ${further(found, url)}`)}`
}

/** Passes as the ledger has them. @param ofOne all of the same poller, which need not be named */
export function runsTable(rows: readonly LedgerRun[], ofOne = false): Html {
  const poller: Column<LedgerRun> = {
    head: 'Poller',
    row: true,
    cell: ({ poller: name }) => html`<a href="/tasks/${encodeURIComponent(name)}">${outside(name)}</a>`,
  }
  const columns: Column<LedgerRun>[] = [
    { head: 'Due', num: true, row: ofOne, cell: ({ due_at: at }) => time(at) },
    { head: 'Outcome', cell: ({ outcome }) => outcomeMark(outcome) },
    { head: 'Began after', num: true, cell: ({ after_ms: ms }) => millis(Math.max(0, ms)) },
    { head: 'Took', num: true, cell: ({ took_ms: ms }) => millis(Math.max(0, ms)) },
    { head: 'Read', num: true, cell: ({ rows_read: n }) => whole(n) },
    { head: 'New', num: true, cell: ({ rows_inserted: n }) => whole(n) },
    { head: 'Late', num: true, cell: ({ late_rows: n }) => whole(n) },
    { head: 'Edge after', num: true, cell: ({ edge }) => time(edge) },
    {
      head: 'By',
      cell: ({ instance_id: id, term }) => html`${outside(id)} <span class="dim">term ${term}</span>`,
    },
    { head: 'Why', wide: true, cell: ({ error }) => (error === null ? NONE : short(error, 120)) },
  ]
  return table('Passes', ofOne ? columns : [poller, ...columns], rows, 'No run is like that.')
}
