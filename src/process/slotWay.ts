import type { SlotRow } from '../tables/slots.ts'

/** What one of the two ways to claim has come to. */
export interface Way {
  readonly rows: SlotRow[]
  /** Milliseconds until the next claim this way is worth it. */
  readonly againMs: number
  readonly unknown: readonly string[]
  readonly hasDefault: boolean
  /** Whoever started last asks for order. */
  readonly ordered: boolean
}

/** While something waits for a slot that another instance may free, or for a person. */
export const HELD_MS = 250

/** Somebody else had what was wanted, for milliseconds as a rule. Not all at once again, and up to HELD_MS each time. */
const CONTENDED_MS = 5
const CONTENDED_SPREAD_MS = 15

/** The wait after so many looks in a row that found what somebody else had. */
export const contendedMs = (times: number): number =>
  Math.min(HELD_MS, (CONTENDED_MS + Math.random() * CONTENDED_SPREAD_MS) * 2 ** times)
