import { html } from 'hono/html'
import type { Html } from './text.ts'

/** A part of a page, with a heading of its own. */
export function section(
  id: string,
  heading: string,
  body: Html | readonly Html[],
  options: { readonly aside?: Html | string; readonly half?: boolean } = {},
): Html {
  const { aside, half = false } = options
  return html`<section class="part${half ? ' half' : ''}" id="${id}" aria-labelledby="${id}-h">
    <header class="part-head">
      <h2 id="${id}-h">${heading}</h2>
      ${aside === undefined ? '' : html`<p class="part-aside">${aside}</p>`}
    </header>
    ${body}
  </section>`
}

/** Names and values, one under the other. */
export function facts(rows: readonly (readonly [name: string, value: Html | string | number])[]): Html {
  return html`<dl class="facts">
    ${rows.map(
      ([name, value]) =>
        html`<div>
          <dt>${name}</dt>
          <dd>${value}</dd>
        </div>`,
    )}
  </dl>`
}
