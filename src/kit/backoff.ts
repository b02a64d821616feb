export interface Backoff {
  readonly baseMs: number
  readonly maxMs: number
}

/**
 * The wait before try number `attempt` + 1, in milliseconds: `base` doubled each time up to `max`, of which a random
 * half is taken off, so that what failed together does not come back together ("equal jitter").
 */
export function backoffMs(
  attempt: number,
  { baseMs, maxMs }: Backoff,
  random: () => number = Math.random,
): number {
  const full = Math.min(maxMs, baseMs * 2 ** Math.min(Math.max(0, attempt - 1), 40))
  return full / 2 + (full / 2) * random()
}
