/**
 * How long passes rest after one of them, so that reading again takes a tenth of the time at most. What a pass took for rows that
 * were new is no reason to rest: more of them may be waiting.
 */

/** What a pass may take without a rest, in milliseconds; and, of that, what it read again. */
const SHORT_MS = 50
const SHORT_REREAD_MS = 20
const REST_TIMES = 9

/** What a new row may take, in milliseconds: several times what it takes while nobody else is at work. */
const NEW_ROW_MS = 0.1

/** In milliseconds; 0 after a short one. `rereadMs`: of what it took, what went into rows that were nearly all known. */
export function restMs(tookMs: number, rereadMs: number, inserted: number): number {
  const idleMs = tookMs - SHORT_MS - inserted * NEW_ROW_MS
  return REST_TIMES * Math.max(0, idleMs, rereadMs > SHORT_REREAD_MS ? rereadMs : 0)
}
