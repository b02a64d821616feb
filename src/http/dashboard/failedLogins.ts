/**
 * Wrong tokens are counted by where they come from, and past a few of them nothing from there is looked at for a while. It slows
 * down whoever tries many tokens and locks out nobody elsewhere; programs with the token in their header are not counted
 * (http/admin.ts), so there is always a way in.
 */
export interface FailedLogins {
  /** Seconds until somebody from there is heard again; 0: now. */
  waitSeconds(from: string): number
  failed(from: string): void
  succeeded(from: string): void
}

/** So many wrong tokens are a person's mistakes. */
const FREE = 5
const WINDOW_MS = 60_000
/** Places remembered: whoever has more addresses than this is not slowed down by counting them. */
const MOST = 10_000

/** @param now monotonic milliseconds */
export function createFailedLogins(now = () => performance.now()): FailedLogins {
  const places = new Map<string, { failures: number; until: number }>()

  function placeOf(from: string) {
    const place = places.get(from)
    if (place === undefined || place.until > now()) return place
    places.delete(from)
    return undefined
  }

  return {
    waitSeconds(from) {
      const place = placeOf(from)
      if (place === undefined || place.failures < FREE) return 0
      return Math.ceil((place.until - now()) / 1000)
    },
    failed(from) {
      const failures = (placeOf(from)?.failures ?? 0) + 1
      // Set anew, it is the youngest; the oldest makes room.
      places.delete(from)
      places.set(from, { failures, until: now() + WINDOW_MS })
      const [oldest] = places.keys()
      if (places.size > MOST && oldest !== undefined) places.delete(oldest)
    },
    succeeded: (from) => void places.delete(from),
  }
}
