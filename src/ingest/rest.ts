/** How long passes rest after one of them, so that reading again takes a tenth of the time at most. */

/** What a pass may take without a rest, in milliseconds; and, of that, what it read again. */
const SHORT_MS = 50
const SHORT_REREAD_MS = 20
const REST_TIMES = 9

/** In milliseconds; 0 after a short one. `rereadMs`: of what it took, what went into rows that were nearly all known. */
export function restMs(tookMs: number, rereadMs: number): number {
  return REST_TIMES * Math.max(0, tookMs - SHORT_MS, rereadMs > SHORT_REREAD_MS ? rereadMs : 0)
}
