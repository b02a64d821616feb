import { html } from 'hono/html'
import { span } from '../../../kit/span.ts'
import type { Html } from './text.ts'

/*
 * Time as the tide sees it: now is at the right, an hour ago at the left, and each step to the left is ten times as long. The
 * water reaches up to the edge, below which everything is proven to be in the inbox; the mark stands where the newest completed
 * pass began. A poller that is well has water nearly to the right, and when it falls behind, the tide goes out.
 */
const WIDTH = 132
const HEIGHT = 18
const LONGEST_S = 3_600
/** A second, ten, a minute, ten. */
const TICKS_S = [1, 10, 60, 600]

function place(seconds: number): number {
  const share = Math.log10(1 + Math.min(Math.max(0, seconds), LONGEST_S)) / Math.log10(1 + LONGEST_S)
  return Math.round((1 - share) * WIDTH * 10) / 10
}

/** @param edgeLag, @param lag seconds; null: not known */
export function tideGauge(edgeLag: number | null, lag: number | null): Html {
  const label = `proven up to ${edgeLag === null ? 'nothing yet' : `${span(edgeLag)} ago`}, last look ${lag === null ? 'never' : `${span(lag)} ago`}`
  const water = edgeLag === null ? 0 : place(edgeLag)
  return html`<svg
    class="gauge"
    role="img"
    aria-label="${label}"
    width="${WIDTH}"
    height="${HEIGHT}"
    viewBox="0 0 ${WIDTH} ${HEIGHT}"
  >
    <rect class="gauge-bed" x="0" y="5" width="${WIDTH}" height="8" rx="2" />
    <rect class="gauge-water" x="0" y="5" width="${water}" height="8" rx="2" />
    ${TICKS_S.map((tick) => html`<line class="gauge-tick" x1="${place(tick)}" x2="${place(tick)}" y1="5" y2="13" />`)}
    ${edgeLag === null ? '' : html`<line class="gauge-edge" x1="${water}" x2="${water}" y1="2" y2="16" />`}
    ${lag === null ? '' : html`<path class="gauge-look" d="M${place(lag) - 3} 0h6l-3 4z" />`}
  </svg>`
}

/** One part of a bar. */
export interface Share {
  readonly name: string
  readonly value: number
  /** Its class in the style sheet. */
  readonly kind: string
}

const BAR_WIDTH = 200

/** Parts of a whole, beside each other. */
export function bar(shares: readonly Share[]): Html {
  const all = shares.reduce((sum, { value }) => sum + value, 0)
  if (all === 0)
    return html`<svg class="bar" viewBox="0 0 ${BAR_WIDTH} 8" preserveAspectRatio="none" aria-hidden="true">
      <rect class="bar-bed" x="0" y="0" width="${BAR_WIDTH}" height="8" />
    </svg>`
  let from = 0
  const label = shares
    .filter(({ value }) => value > 0)
    .map(({ name, value }) => `${value} ${name}`)
    .join(', ')
  return html`<svg
    class="bar"
    role="img"
    aria-label="${label}"
    viewBox="0 0 ${BAR_WIDTH} 8"
    preserveAspectRatio="none"
  >
    ${shares.map(({ value, kind }) => {
      // What there is at all is seen.
      const width = value === 0 ? 0 : Math.max(2, (value / all) * BAR_WIDTH)
      const x = Math.min(from, BAR_WIDTH - width)
      from += width
      return html`<rect
        class="bar-${kind}"
        x="${x.toFixed(1)}"
        y="0"
        width="${width.toFixed(1)}"
        height="8"
      />`
    })}
  </svg>`
}
