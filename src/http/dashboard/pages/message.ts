import { html } from 'hono/html'
import type { ReadMessage, WholeMessage } from '../../../tables/dashboardMessages.ts'
import type { MessageAttempt } from '../../../tables/attempt.ts'
import type { StoryLine } from '../../../tables/trace.ts'
import { span } from '../../../kit/span.ts'
import type { Story } from '../story.ts'
import { mark, statusMark, type Tone } from '../view/marks.ts'
import { facts, section } from '../view/section.ts'
import { table } from '../view/table.ts'
import { counted, millis, NONE, outside, short, time, whole, type Html } from '../view/text.ts'

/** More of a payload than this is not shown, in characters: a browser stays quick, and a person finds what it begins with. */
export const PAYLOAD_SHOWN = 100_000

export interface MessageState {
  readonly read: ReadMessage
  readonly story: Story
  /** Whoever looks has the token. */
  readonly trusted: boolean
  /** Whoever looks could log in to see the payload. */
  readonly canLogIn: boolean
  readonly formToken: string | undefined
  readonly here: string
}

export function message(state: MessageState): Html {
  const { message: row } = state.read
  return html`<p class="crumbs"><a href="/messages">Messages</a></p>
    <header class="title">
      <h1>${short(row.message_id, 120)}</h1>
      <p>
        ${statusMark(row.status)} <span class="dim">number ${row.inbox_id}, from ${outside(row.source)}</span>
      </p>
    </header>
    ${row.last_error === null ? '' : html`<p class="error-line">${outside(row.last_error)}</p>`}
    ${actions(state)}
    <div class="columns">
      ${section('story', 'Story', story(row, state.story))} ${section('facts', 'Facts', factsOf(row))}
    </div>
    ${trace(state.story.trace, row)} ${payload(state)}`
}

const CAN_RETRY = ['DEAD', 'FAILED', 'DISCARDED']
const CAN_DISCARD = ['NEW', 'FAILED', 'DEAD']

function actions({ read: { message: row }, formToken, here }: MessageState): Html | string {
  if (formToken === undefined) return ''
  const one = (action: string, text: string, kind: string, confirm: string): Html =>
    html`<button
      name="action"
      value="${action}"
      class="${kind}"
      ${confirm === '' ? '' : html`data-confirm="${confirm}"`}
    >
      ${text}
    </button>`
  const [retry, discard] = [CAN_RETRY.includes(row.status), CAN_DISCARD.includes(row.status)]
  if (!retry && !discard) return ''
  return html`<form method="post" action="/messages" class="buttons">
    <input type="hidden" name="form_token" value="${formToken}" />
    <input type="hidden" name="back" value="${here}" />
    <input type="hidden" name="id" value="${row.inbox_id}" />
    ${retry ? one('retry', 'Retry now', 'main', '') : ''}
    ${discard ? one('discard', 'Discard', 'danger', 'Discard this message? No handler will run for it.') : ''}
  </form>`
}

interface Line {
  readonly at: string | null
  readonly what: Html
  readonly more?: Html | string
}

/** From the source to what became of it, in order of time. */
function story(row: WholeMessage, { attempts }: Story): Html {
  const lines: Line[] = []
  if (row.source_created_at !== null)
    lines.push({
      at: row.source_created_at,
      what: html`Written to ${row.source_table === null ? 'its source' : outside(row.source_table)}`,
    })
  lines.push({
    at: row.created_at,
    what: html`Taken into the
    inbox${row.source_table === null ? html` by ${outside(row.source)}` : html` by the poller ${outside(row.source)}`}`,
    more:
      row.source_created_at === null
        ? ''
        : html`${span(between(row.source_created_at, row.created_at))} later`,
  })
  for (const attempt of attempts) lines.push(attemptLine(attempt))
  lines.push(ending(row))
  return html`<ol class="story">
    ${lines.map(
      ({ at, what, more = '' }, n) =>
        html`<li>
          <span class="story-at">${storyTime(at, lines[n - 1]?.at)}</span>
          <div class="story-what">${what} ${more === '' ? '' : html`<span class="dim">${more}</span>`}</div>
        </li>`,
    )}
  </ol>`
}

/** To the millisecond; its day where that is another than the one above. */
function storyTime(at: string | null, before: string | null | undefined): Html {
  if (at === null || at === 'infinity') return NONE
  const day = at.slice(0, 10)
  return html`${before?.startsWith(day) === true ? '' : `${day} `}${time(at, 'clock')}`
}

const ATTEMPT_TONES: Readonly<Record<string, Tone>> = {
  failed: 'watch',
  dead: 'act',
  interrupted: 'quiet',
  reclaimed: 'watch',
}

function attemptLine({
  claim,
  attempt,
  instance_id: who,
  started_at: began,
  ended_at: ended,
  outcome,
  error,
}: MessageAttempt): Line {
  const took = began === null ? '' : ` after ${span(between(began, ended))}`
  return {
    at: ended,
    what: html`${mark(ATTEMPT_TONES[outcome] ?? 'quiet', outcome)}
      <b>attempt ${attempt}</b>${html` at ${outside(who)}`}${took}
      ${error === null ? '' : html`<span class="error-line">${outside(error)}</span>`}`,
    more: html`claim ${claim}`,
  }
}

/** What became of it, or will. */
function ending(row: WholeMessage): Line {
  const attempts = html`after
  ${counted(row.attempts, 'attempt')}${row.interruptions === 0 ? '' : html` and ${counted(row.interruptions, 'interruption')}`}`
  const took =
    row.processed_at === null
      ? ''
      : html`${span(between(row.source_created_at ?? row.created_at, row.processed_at))} from its beginning`
  switch (row.status) {
    case 'DONE':
      return { at: row.processed_at, what: html`${mark('good', 'done')} ${attempts}`, more: took }
    case 'DISCARDED':
      return {
        at: row.processed_at,
        what: html`${mark('quiet', 'discarded')} by a person, ${attempts}`,
        more: took,
      }
    case 'DEAD':
      return {
        at: row.updated_at,
        what: html`${mark('act', 'given up')} ${attempts}`,
        more: 'a person has to retry or discard it',
      }
    case 'FAILED':
      return {
        at: row.next_attempt_at,
        what: html`${mark('watch', 'to be tried again')} ${attempts} of ${row.max_attempts}`,
      }
    case 'PROCESSING':
      return {
        at: row.locked_at,
        what: html`${mark('busy', 'in work')} at ${outside(row.locked_by ?? '?')}`,
        more: html`claim ${row.claim}`,
      }
    case 'NEW':
      return { at: row.next_attempt_at, what: html`${mark('quiet', 'waits')} for a processor` }
  }
}

function factsOf(row: WholeMessage): Html {
  const rows: (readonly [string, Html | string | number])[] = [
    [
      'Trace',
      html`<a class="id" href="/messages?q=${encodeURIComponent(row.trace_id)}"
        >${short(row.trace_id, 64)}</a
      >`,
    ],
    ['Source', html`<a href="/messages?source=${encodeURIComponent(row.source)}">${outside(row.source)}</a>`],
    [
      'Group key',
      row.group_key === null
        ? NONE
        : html`<a
            href="/messages?source=${encodeURIComponent(row.source)}&key=${encodeURIComponent(row.group_key)}"
            >${short(row.group_key, 64)}</a
          >`,
    ],
    ['Attempts', `${row.attempts} of ${row.max_attempts}`],
    ['Interruptions', row.interruptions],
    ['Claims', row.claim],
    ['Age', span(row.age_seconds)],
    ['Last written', time(row.updated_at)],
    [
      'In SQL',
      html`<code>SELECT * FROM service_ops.integration_inbox WHERE inbox_id = ${row.inbox_id}</code>`,
    ],
  ]
  if (row.suspect) rows.push(['Suspect', 'its process died while it ran: it is claimed alone'])
  return facts(rows)
}

function trace(lines: readonly StoryLine[], { trace_id: id }: WholeMessage): Html {
  return section(
    'trace',
    'Trace',
    table<StoryLine>(
      'All that has this trace',
      [
        { head: 'What', row: true, cell: ({ what }) => outside(what) },
        { head: 'At', num: true, cell: ({ at }) => time(at) },
        {
          head: 'Since start',
          num: true,
          cell: ({ since_start_ms: ms }) => millis(ms),
        },
        { head: 'Who', cell: ({ who }) => (who === null ? NONE : outside(who)) },
        { head: 'Detail', wide: true, cell: ({ detail }) => (detail === null ? NONE : short(detail, 200)) },
      ],
      lines,
      'Nothing is known of it.',
    ),
    { aside: short(id, 64) },
  )
}

function payload({ read: { payload: text, length }, trusted, canLogIn, here }: MessageState): Html {
  const aside = length === null ? '' : counted(length, 'character')
  if (length === null) return section('payload', 'Payload', html`<p class="nothing">It has none.</p>`)
  if (!trusted || text === null)
    return section(
      'payload',
      'Payload',
      html`<p class="nothing">
        Shown only to whoever has the token.
        ${canLogIn ? html`<a href="/login?next=${encodeURIComponent(here)}">Log in</a>` : ''}
      </p>`,
      { aside },
    )
  const cut = length > PAYLOAD_SHOWN
  return section(
    'payload',
    'Payload',
    html`<pre class="payload" tabindex="0" dir="ltr">${outside(text)}</pre>
      ${cut ? html`<p class="further">Cut after ${whole(PAYLOAD_SHOWN)} characters.</p>` : ''}`,
    { aside },
  )
}

function between(from: string, to: string): number {
  return (Date.parse(to) - Date.parse(from)) / 1000
}
