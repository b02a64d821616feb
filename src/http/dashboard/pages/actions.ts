import { html } from 'hono/html'
import type { OperatorAction } from '../../../tables/dashboard.ts'
import { pageBelow } from '../query.ts'
import { section } from '../view/section.ts'
import { table } from '../view/table.ts'
import { outside, short, time, type Html } from '../view/text.ts'

export function actions(all: readonly OperatorAction[], below: number | undefined, url: string): Html {
  return html`<h1>Actions</h1>
    ${section(
      'found',
      'Newest first',
      html`${actionsTable(all)}
      ${below === undefined ? '' : html`<p class="further"><a class="button" href="${pageBelow(url, String(below))}" rel="next">Older ones</a></p>`}`,
      { aside: 'what operators did, by command line, HTTP and SQL' },
    )}`
}

export function actionsTable(all: readonly OperatorAction[]): Html {
  return table<OperatorAction>(
    'What operators did',
    [
      {
        head: 'Action',
        row: true,
        cell: ({ action, action_id: id }) => html`${outside(action)} <span class="dim">#${id}</span>`,
      },
      { head: 'Target', cell: ({ target }) => short(target, 60) },
      { head: 'Who', cell: ({ who }) => outside(who) },
      { head: 'By', cell: ({ how }) => how },
      { head: 'When', num: true, cell: ({ at }) => time(at) },
      {
        head: 'Detail',
        wide: true,
        cell: ({ detail }) => html`<code>${short(detailOf(detail), 160)}</code>`,
      },
    ],
    all,
    'Nobody has done anything yet.',
  )
}

function detailOf(detail: Readonly<Record<string, unknown>>): string {
  return Object.entries(detail)
    .map(([name, value]) => `${name} ${typeof value === 'string' ? value : JSON.stringify(value)}`)
    .join(', ')
}
