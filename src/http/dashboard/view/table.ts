import { html } from 'hono/html'
import type { Html } from './text.ts'

export interface Column<Row> {
  readonly head: string
  /** A number or a length of time: to the right, in figures of one width. */
  readonly num?: boolean
  /** Names the row. One a table. */
  readonly row?: boolean
  /** Takes what room there is. */
  readonly wide?: boolean
  readonly cell: (row: Row) => Html | string | number
}

/**
 * A table that is a list of cards where the screen is narrow; there each cell says what it is.
 * @param caption for those who cannot see what is above it
 */
export function table<Row>(
  caption: string,
  columns: readonly Column<Row>[],
  rows: readonly Row[],
  nothing: string,
): Html {
  if (rows.length === 0) return html`<p class="nothing">${nothing}</p>`
  return html`<table>
    <caption class="unseen">
      ${caption}
    </caption>
    <thead>
      <tr>
        ${columns.map((column) => html`<th scope="col" class="${classOf(column)}">${column.head}</th>`)}
      </tr>
    </thead>
    <tbody>
      ${rows.map(
        (row) =>
          html`<tr>
            ${columns.map((column) => cellOf(column, row))}
          </tr>`,
      )}
    </tbody>
  </table>`
}

function cellOf<Row>(column: Column<Row>, row: Row): Html {
  const value = column.cell(row)
  if (column.row === true) return html`<th scope="row" class="${classOf(column)}">${value}</th>`
  return html`<td class="${classOf(column)}" data-label="${column.head}"><span>${value}</span></td>`
}

function classOf({ num, wide, row }: Pick<Column<never>, 'num' | 'wide' | 'row'>): string {
  return [num === true && 'num', wide === true && 'wide', row === true && 'names']
    .filter((name) => name !== false)
    .join(' ')
}
