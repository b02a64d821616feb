import { html, raw } from 'hono/html'
import type { HtmlEscapedString } from 'hono/utils/html'
import { span } from '../../../kit/span.ts'

/** Escaped text for a page. */
export type Html = HtmlEscapedString | Promise<HtmlEscapedString>

/**
 * What cannot be seen, or changes how what follows is seen: controls but for tab and line feed, marks of direction and their
 * overrides, characters without width, separators of lines, tags, half of a pair.
 */
const HIDDEN =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\u{e0000}-\u{e007f}]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/gu

/** Text from outside: what is hidden in it is shown by its number, and its direction is its own affair. */
export function outside(text: string): Html {
  if (text.search(HIDDEN) < 0) return html`<bdi>${text}</bdi>`
  const parts: Html[] = []
  let from = 0
  for (const { 0: hidden, index } of text.matchAll(HIDDEN)) {
    parts.push(html`${text.slice(from, index)}<span class="hidden-char">${numberOf(hidden)}</span>`)
    from = index + hidden.length
  }
  return html`<bdi>${parts}${text.slice(from)}</bdi>`
}

/** As a JSON text writes it. */
function numberOf(hidden: string): string {
  return [...Array(hidden.length).keys()]
    .map((at) => `\\u${hidden.charCodeAt(at).toString(16).padStart(4, '0')}`)
    .join('')
}

/** The beginning of a long text; the whole is its title. */
export function short(text: string, most: number): Html {
  if (text.length <= most) return outside(text)
  return html`<span title="${plain(text)}">${outside(text.slice(0, most))}…</span>`
}

/** For attributes, which know no marks. */
export function plain(text: string): string {
  return text.replace(HIDDEN, numberOf)
}

const WHOLE = new Intl.NumberFormat('en-US')

/** `12,345`. */
export function whole(value: number): string {
  return WHOLE.format(value)
}

/** `1 message`, `2 messages`. */
export function counted(value: number, what: string, whats = `${what}s`): string {
  return `${whole(value)} ${value === 1 ? what : whats}`
}

/** Milliseconds as people say them: `0.4 ms`, `18 ms`, `1.2 s`. */
export function millis(ms: number): string {
  if (ms < 9.95) return `${ms.toFixed(1)} ms`
  return ms < 999.5 ? `${Math.round(ms)} ms` : span(ms / 1000)
}

export const NONE = html`<span class="none" aria-label="none">–</span>`

/** A length of time, or a dash. */
export function spanOr(seconds: number | null | undefined): Html | string {
  return seconds === null || seconds === undefined ? NONE : span(seconds)
}

/**
 * A time of the database, to the second, or within its day to the millisecond; what it was told as is its title. `-infinity` and
 * `infinity` are said in words.
 */
export function time(iso: string | null | undefined, form: 'whole' | 'clock' = 'whole'): Html {
  if (iso === null || iso === undefined) return NONE
  if (iso === '-infinity') return html`the beginning`
  if (iso === 'infinity') return html`never`
  const at = new Date(iso)
  if (Number.isNaN(at.getTime())) return outside(iso)
  const text = at.toISOString()
  const shown = form === 'clock' ? text.slice(11, 23) : `${text.slice(0, 10)} ${text.slice(11, 19)}`
  return html`<time datetime="${text}" title="${iso}">${shown}</time>`
}

/** How long ago a time was, by `now` of the same clock; the time is its title. */
export function since(iso: string | null | undefined, now: string): Html {
  if (iso === null || iso === undefined) return NONE
  const seconds = (Date.parse(now) - Date.parse(iso)) / 1000
  if (Number.isNaN(seconds)) return time(iso)
  const text = seconds >= 0 ? `${span(seconds)} ago` : `in ${span(-seconds)}`
  return html`<time datetime="${new Date(iso).toISOString()}" title="${iso}">${text}</time>`
}

/** Joins with a separator. */
export function joined(parts: readonly (Html | string)[], separator = ', '): Html {
  return html`${parts.map((part, n) => html`${n === 0 ? '' : separator}${part}`)}`
}

/** Nothing. */
export const EMPTY = raw('')
