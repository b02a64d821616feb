import { html, raw } from 'hono/html'
import { span as length } from '../../../kit/span.ts'
import { SPANS } from '../history.ts'
import type { Chart, Chronicle, Span } from '../history.ts'
import { reasonMark } from './fleet.ts'
import { section } from '../view/section.ts'
import { table } from '../view/table.ts'
import { EMPTY, millis, NONE, outside, time, whole, type Html } from '../view/text.ts'

/** A table for those without charts has this many rows at most. */
const ROWS_MOST = 170

export function history(chosen: Span, chronicle: Chronicle): Html {
  return html`<h1>History</h1>
    <nav class="spans" aria-label="How far back">
      <ul>
        ${Object.entries(SPANS).map(
          ([name, { text }]) =>
            html`<li>
              <a href="/history?span=${name}" ${name === chosen ? html`aria-current="true"` : ''}>${text}</a>
            </li>`,
        )}
      </ul>
    </nav>
    ${chronicle.charts.every(({ lines }) => lines.length === 0) ? html`<p class="nothing">No history yet: it is written once a minute.</p>` : charts(chronicle)}
    ${changes(chronicle)}`
}

function charts(chronicle: Chronicle): Html {
  return html`<div class="charts">
      ${chronicle.charts.map((chart) =>
        chart.lines.length === 0
          ? EMPTY
          : section(
              chart.id,
              chart.title,
              html`<div class="chart" data-chart="${chart.id}" data-unit="${chart.unit}" hidden></div>
                <details class="numbers">
                  <summary>The numbers</summary>
                  <div class="scrolls" tabindex="0" role="region" aria-label="${chart.title}, in numbers">
                    ${numbers(chart, chronicle)}
                  </div>
                </details>`,
              { half: true, aside: chart.unit === '/s' ? 'a second' : chart.unit === 's' ? 'seconds' : '' },
            ),
      )}
    </div>
    ${data(chronicle)}`
}

/** What the script draws. In an element that browsers do not run, with what could end it written another way. */
function data({ times, charts: all, changes: marks }: Chronicle): Html {
  const document = {
    times,
    charts: Object.fromEntries(all.map(({ id, lines }) => [id, lines])),
    changes: marks.map(({ at, task_name: task, reason }) => ({ at: Date.parse(at) / 1000, task, reason })),
  }
  const text = JSON.stringify(document).replaceAll('<', '\\u003c')
  return html`<script type="application/json" id="chronicle">
    ${raw(text)}
  </script>`
}

function numbers({ lines, unit }: Chart, { times }: Chronicle): Html {
  const rows = times
    .map((at, n) => ({ at, values: lines.map(({ values }) => values[n] ?? null) }))
    .filter(({ values }) => values.some((value) => value !== null))
    .toReversed()
    .slice(0, ROWS_MOST)
  type Row = (typeof rows)[number]
  return table<Row>(
    'The same in numbers',
    [
      { head: 'From', row: true, cell: ({ at }) => time(new Date(at * 1000).toISOString()) },
      ...lines.map(({ label }, n) => ({
        head: label,
        num: true,
        cell: ({ values }: Row) => valueOf(values[n] ?? null, unit),
      })),
    ],
    rows,
    'None.',
  )
}

function valueOf(value: number | null, unit: Chart['unit']): Html | string {
  if (value === null) return NONE
  if (unit === 's') return value < 1 ? millis(value * 1000) : length(value)
  return value < 10 && unit === '/s' ? value.toFixed(2) : whole(Math.round(value))
}

function changes({ changes: all }: Chronicle): Html {
  return section(
    'changes',
    'Changes of leadership',
    table<Chronicle['changes'][number]>(
      'Changes of leadership',
      [
        { head: 'Task', row: true, cell: ({ task_name: task }) => outside(task) },
        { head: 'When', num: true, cell: ({ at }) => time(at) },
        { head: 'How', cell: ({ reason }) => reasonMark(reason) },
        { head: 'From', cell: ({ from_instance: from }) => (from === null ? NONE : outside(from)) },
        { head: 'To', cell: ({ to_instance: to }) => outside(to) },
        {
          head: 'Without a leader',
          num: true,
          cell: ({ gap_ms: gap }) => (gap === null ? NONE : millis(gap)),
        },
      ],
      all.toReversed(),
      'None in this time.',
    ),
  )
}
