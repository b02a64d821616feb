/** How many values lay above the bound before it and not above this one. */
export interface Bucket {
  /** In seconds; Infinity above the last bound. */
  readonly upToS: number
  readonly count: number
}

/**
 * The value in seconds that this share of all values did not exceed, as far as buckets can tell: within one, values are taken
 * to lie evenly, as Prometheus does. Above the last bound nothing is known but that bound. NaN where there are no values.
 *
 * @param buckets in any order; those that are empty may be left out
 * @param boundsS where buckets end, those that are left out included
 */
export function percentileOf(buckets: readonly Bucket[], share: number, boundsS: readonly number[]): number {
  const rising = buckets.filter(({ count }) => count > 0).sort((a, b) => a.upToS - b.upToS)
  const rank = rising.reduce((sum, { count }) => sum + count, 0) * share
  // A bound that another release had is one all the same.
  const bounds = [...boundsS, ...rising.map(({ upToS }) => upToS)]
  let below = 0
  for (const { upToS, count } of rising) {
    if (below + count < rank) {
      below += count
      continue
    }
    const fromS = Math.max(0, ...bounds.filter((bound) => bound < upToS))
    return Number.isFinite(upToS) ? fromS + (upToS - fromS) * ((rank - below) / count) : fromS
  }
  return Number.NaN
}
