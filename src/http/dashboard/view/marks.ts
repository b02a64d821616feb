import { html } from 'hono/html'
import type { Html } from './text.ts'

/** How much a thing needs a person: it is as it should be, under way, held or old news; watch it, act. */
export type Tone = 'good' | 'busy' | 'quiet' | 'watch' | 'act'

/** A word with a mark whose form, not its colour alone, says how it is. */
export function mark(tone: Tone, text: Html | string): Html {
  return html`<span class="mark mark-${tone}"
    ><svg class="mark-sign" viewBox="0 0 10 10" aria-hidden="true">${SIGNS[tone]}</svg>${text}</span
  >`
}

/** Disc, half a disc, ring, triangle, square. */
const SIGNS: Readonly<Record<Tone, Html>> = {
  good: html`<circle cx="5" cy="5" r="4" />`,
  busy: html`<circle cx="5" cy="5" r="3.2" fill="none" stroke="currentColor" stroke-width="1.6" />
    <path d="M5 1a4 4 0 0 1 0 8z" />`,
  quiet: html`<circle cx="5" cy="5" r="3.2" fill="none" stroke="currentColor" stroke-width="1.6" />`,
  watch: html`<path d="M5 .8 9.6 9H.4z" />`,
  act: html`<rect x=".8" y=".8" width="8.4" height="8.4" rx="1" />`,
}

const STATUS_TONES: Readonly<Record<string, Tone>> = {
  NEW: 'quiet',
  PROCESSING: 'busy',
  DONE: 'good',
  FAILED: 'watch',
  DEAD: 'act',
  DISCARDED: 'quiet',
}

/** A message's status. */
export function statusMark(status: string): Html {
  return mark(STATUS_TONES[status] ?? 'quiet', status)
}

const OUTCOME_TONES: Readonly<Record<string, Tone>> = {
  ran: 'good',
  late: 'watch',
  backstop: 'watch',
  coalesced: 'quiet',
  missed: 'watch',
  fenced: 'watch',
  failed: 'act',
  reset: 'quiet',
  completed: 'good',
  cancelled: 'quiet',
}

/** How a pass or a job ended. */
export function outcomeMark(outcome: string): Html {
  return mark(OUTCOME_TONES[outcome] ?? 'quiet', outcome)
}

const STATE_TONES: Readonly<Record<string, Tone>> = {
  starting: 'quiet',
  ready: 'good',
  draining: 'watch',
  stopped: 'quiet',
  lost: 'act',
}

/** An instance's state. */
export function stateMark(state: string): Html {
  return mark(STATE_TONES[state] ?? 'quiet', state)
}
