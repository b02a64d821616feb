/** Timers of this length tell a pause from a long wait, and this much is given again after one. */
const SLICE_MS = 1_000

/** A slice that ends later than this after its time was met by a pause: a busy event loop is seldom so late. */
const LATE_MS = 1_000

/**
 * Calls `onOver` when `limitMs` have passed for this process. Time in which it stood still (a paused host, SIGSTOP, an
 * event loop that somebody else blocked) is nobody's fault, and one timer for all would fire at its end before anything
 * that arrived meanwhile is read. So the limit is counted in slices, and a slice that was met by a pause is given again;
 * but no more than the limit altogether, so that what blocks the event loop again and again comes to its end.
 *
 * @param now monotonic milliseconds
 * @returns ends the count
 */
export function startLimit(
  limitMs: number,
  onOver: () => void,
  now: () => number = () => performance.now(),
): () => void {
  let leftMs = limitMs
  let toGiveMs = limitMs
  const slice = (): NodeJS.Timeout => {
    const sliceMs = Math.min(leftMs, SLICE_MS)
    const since = now()
    return setTimeout(() => {
      const passedMs = now() - since
      if (passedMs - sliceMs > LATE_MS && toGiveMs >= sliceMs) toGiveMs -= sliceMs
      else leftMs -= passedMs
      if (leftMs > 0) timer = slice()
      else onOver()
    }, sliceMs)
  }
  let timer = slice()
  return () => clearTimeout(timer)
}
