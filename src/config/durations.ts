import type { Duration } from './types.ts'

const UNIT_MS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const

/** What a duration may look like, for messages. */
export const DURATION_FORM =
  "a duration such as '500ms', '30s', '5m', '1h' or '7d', or milliseconds as a number"

/** Milliseconds of a duration, or undefined when it is none. Negative and infinite ones are none. */
export function parseDuration(value: unknown): number | undefined {
  if (typeof value === 'number') return Number.isFinite(value) && value >= 0 ? value : undefined
  if (typeof value !== 'string') return undefined
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(value.trim())
  if (match === null) return undefined
  const [, amount = '', unit = ''] = match
  // The expression lets through the five units alone.
  return Math.round(Number(amount) * UNIT_MS[unit as keyof typeof UNIT_MS])
}

/** Writes milliseconds as the shortest exact duration: 90000 is `'90s'`, 7200000 is `'2h'`. */
export function formatDuration(ms: number): Duration {
  for (const unit of ['d', 'h', 'm', 's'] as const) {
    if (ms >= UNIT_MS[unit] && ms % UNIT_MS[unit] === 0) return `${ms / UNIT_MS[unit]}${unit}`
  }
  return `${ms}ms`
}
