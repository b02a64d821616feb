/**
 * Finds rows by walking down a primary key, a step at a time, until there are enough or the time is up.
 *
 * No index serves every question that a person may have, and one more index is paid for by every message. So a question that
 * none serves is answered as far as a page's time allows, and the page says how far it looked and offers to go on from there.
 * Steps grow while there is time: a first page is mostly full after the first one.
 */
import type { Walked } from '../../tables/dashboardMessages.ts'

/** A part of what matches, newest first. */
export interface Found<Row> {
  readonly rows: readonly Row[]
  /** Below it there may be more; undefined: that was all. */
  readonly below: string | undefined
  /** The time was up before there were enough: nothing is known of what lies below. */
  readonly cut: boolean
}

export interface WalkOptions<Row> {
  readonly below: string
  /** Nothing below it is looked at. */
  readonly floor: string
  readonly limit: number
  readonly step: (step: { below: string; floor: string; look: number; limit: number }) => Promise<Walked<Row>>
  readonly idOf: (row: Row) => number
  /** Default: 100 ms. */
  readonly budgetMs?: number
  /** Monotonic milliseconds. */
  readonly now?: () => number
}

const BUDGET_MS = 100
const FIRST_LOOK = 2_000
const MOST_LOOK = 50_000
/** Fewer are not worth a statement. */
const LEAST_LOOK = 500
/** A step is to take this part of the time that is left, going by the one before it, and so is rarely far too long. */
const SHARE = 0.5

export async function walk<Row>(options: WalkOptions<Row>): Promise<Found<Row>> {
  const { floor, limit, step, idOf, budgetMs = BUDGET_MS, now = () => performance.now() } = options
  const startedAt = now()
  const rows: Row[] = []
  let { below } = options
  let look = FIRST_LOOK
  for (;;) {
    const stepAt = now()
    // One more than is wanted tells whether there are more.
    const found = await step({ below, floor, look, limit: limit + 1 - rows.length })
    rows.push(...found.rows)
    if (rows.length > limit) {
      const shown = rows.slice(0, limit)
      const last = shown.at(-1)
      return { rows: shown, below: last === undefined ? undefined : String(idOf(last)), cut: false }
    }
    if (BigInt(found.reached) <= BigInt(floor)) return { rows, below: undefined, cut: false }
    below = found.reached
    const at = now()
    const perMs = look / Math.max(0.1, at - stepAt)
    look = Math.min(MOST_LOOK, look * 3, Math.floor(perMs * (budgetMs - at + startedAt) * SHARE))
    if (look < LEAST_LOOK) return { rows, below, cut: true }
  }
}

/** Above every number. */
export const TOP = '9223372036854775807'
