import { html } from 'hono/html'
import type { BrowsedMessage, ErrorClass } from '../../../tables/dashboardMessages.ts'
import { STATUSES } from '../../../tables/operator.ts'
import { span } from '../../../kit/span.ts'
import { pageBelow, type MessagesQuery } from '../query.ts'
import type { Found } from '../walk.ts'
import { statusMark } from '../view/marks.ts'
import { section } from '../view/section.ts'
import { table, type Column } from '../view/table.ts'
import { counted, NONE, plain, short, time, whole, type Html } from '../view/text.ts'

export interface MessagesState {
  readonly query: MessagesQuery
  readonly url: string
  readonly found: Found<BrowsedMessage>
  readonly sources: readonly string[]
  readonly errors: readonly ErrorClass[]
  /** Undefined: whoever looks may not act. */
  readonly formToken: string | undefined
}

const SHORT = 48

export function messages(state: MessagesState): Html {
  return html`<h1>Messages</h1>
    ${filters(state)} ${errors(state)} ${list(state)}`
}

function filters({ query, sources }: MessagesState): Html {
  const { text = '', statuses = [], sources: chosen = [], groupKey = '', error = '', typed } = query
  return html`<form class="filters" method="get" action="/messages" role="search">
    <label class="field field-wide">
      <span>Find</span>
      <input
        name="q"
        value="${plain(text)}"
        placeholder="trace id, message id or number"
        autocomplete="off"
        spellcheck="false"
      />
    </label>
    <label class="field">
      <span>Source</span>
      <select name="source">
        <option value="">any</option>
        ${sources.map(
          (source) =>
            html`<option value="${source}" ${chosen.includes(source) ? 'selected' : ''}>
              ${plain(source)}
            </option>`,
        )}
      </select>
    </label>
    <label class="field">
      <span>Group key</span>
      <input name="key" value="${plain(groupKey)}" autocomplete="off" spellcheck="false" />
    </label>
    <label class="field">
      <span>Error</span>
      <input
        name="error"
        value="${plain(error)}"
        placeholder="TypeError, 23505"
        autocomplete="off"
        spellcheck="false"
      />
    </label>
    <label class="field">
      <span>Taken in from</span>
      <input name="since" type="datetime-local" value="${plain(typed.since)}" />
    </label>
    <label class="field">
      <span>until</span>
      <input name="until" type="datetime-local" value="${plain(typed.until)}" />
    </label>
    <fieldset class="field field-wide choices">
      <legend>Status</legend>
      ${STATUSES.map(
        (status) =>
          html`<label class="choice">
            <input
              type="checkbox"
              name="status"
              value="${status}"
              ${statuses.includes(status) ? 'checked' : ''}
            />
            <span>${status}</span>
          </label>`,
      )}
    </fieldset>
    <div class="buttons"><button class="main">Show</button> <a class="button" href="/messages">Clear</a></div>
  </form>`
}

/** What fails most; one is one click away. */
function errors({ errors: classes, query }: MessagesState): Html | string {
  if (classes.length === 0 || query.text !== undefined) return ''
  return html`<nav class="errors" aria-label="Errors of what waits or is given up">
    <ul>
      ${classes.map(
        ({ class: name, messages: n, dead }) =>
          html`<li>
            <a href="/messages?status=FAILED&status=DEAD&error=${encodeURIComponent(name)}"
              ><b>${whole(n)}</b> ${short(name, SHORT)}
              ${dead === 0 ? '' : html`<span class="dim">${whole(dead)} given up</span>`}</a
            >
          </li>`,
      )}
    </ul>
  </nav>`
}

function list(state: MessagesState): Html {
  const { query, found, url, formToken } = state
  if (query.fault !== undefined) return html`<p class="notice notice-refused" role="alert">${query.fault}</p>`
  const columns: Column<BrowsedMessage>[] = [
    {
      head: 'Message',
      row: true,
      cell: ({ inbox_id: id, message_id: name }) =>
        html`<a href="/messages/${id}" class="id">${short(name, SHORT)}</a> <span class="dim">#${id}</span>`,
    },
    { head: 'Status', cell: ({ status }) => statusMark(status) },
    { head: 'Source', cell: ({ source }) => short(source, SHORT) },
    { head: 'Key', cell: ({ group_key: key }) => (key === null ? NONE : short(key, SHORT)) },
    { head: 'Attempts', num: true, cell: ({ attempts, max_attempts: most }) => `${attempts} of ${most}` },
    { head: 'Taken in', num: true, cell: ({ created_at: at }) => time(at) },
    { head: 'Took', num: true, cell: took },
    {
      head: 'Newest error',
      wide: true,
      cell: ({ last_error: error }) => (error === null ? NONE : short(error, 90)),
    },
  ]
  const choose: Column<BrowsedMessage> = {
    head: 'Choose',
    cell: ({ inbox_id: id, message_id: name }) =>
      html`<input type="checkbox" name="id" value="${id}" aria-label="Choose ${plain(name)}" />`,
  }
  const rows = table(
    'Messages',
    formToken === undefined ? columns : [choose, ...columns],
    found.rows,
    found.cut ? 'None among those looked at so far.' : 'No message is like that.',
  )
  const body =
    formToken === undefined || found.rows.length === 0
      ? rows
      : html`<form method="post" action="/messages" class="chosen">
          <input type="hidden" name="form_token" value="${formToken}" />
          <input type="hidden" name="back" value="${new URL(url).pathname}${new URL(url).search}" />
          ${rows}
          <div class="buttons">
            <label class="choice choose-all" hidden
              ><input type="checkbox" id="choose-all" /> <span>All of this page</span></label
            >
            <button name="action" value="retry">Retry the chosen</button>
            <button
              name="action"
              value="discard"
              class="danger"
              data-confirm="Discard the chosen messages? No handler will run for them."
            >
              Discard the chosen
            </button>
          </div>
        </form>`
  return section(
    'found',
    query.text === undefined ? 'Newest first' : 'Found',
    html`${body} ${further(found, url)}`,
    {
      aside: found.rows.length === 0 ? '' : counted(found.rows.length, 'message'),
    },
  )
}

function took({
  source_created_at: written,
  created_at: taken,
  processed_at: done,
}: BrowsedMessage): Html | string {
  if (done === null) return NONE
  return span((Date.parse(done) - Date.parse(written ?? taken)) / 1000)
}

/** The way to the next page. */
export function further({ below, cut }: Pick<Found<unknown>, 'below' | 'cut'>, url: string): Html | string {
  if (below === undefined) return ''
  const path = pageBelow(url, below)
  return cut
    ? html`<p class="further">
        Looked down to number ${below}; there may be more below.
        <a class="button" href="${path}" rel="next">Look further</a>
      </p>`
    : html`<p class="further"><a class="button" href="${path}" rel="next">Older ones</a></p>`
}
