import autocannon from 'autocannon'

/** What proxies and scrapers ask, one after another. */
export const PATHS = ['/health', '/ready', '/metrics'] as const

export interface Answers {
  readonly perSecond: number
  readonly p99Ms: number
  readonly slowestMs: number
  /** Not answered, not in time, or not with 200. */
  readonly failed: number
}

/** Asks at a steady rate while the work lasts, and for `seconds` at least. */
export async function during<T>(
  address: string,
  rate: number,
  seconds: number,
  work: () => Promise<T>,
): Promise<{ readonly result: T; readonly answers: Answers }> {
  const { promise, resolve, reject } = Promise.withResolvers<autocannon.Result>()
  const asking = autocannon(
    {
      url: address,
      connections: CONNECTIONS,
      overallRate: rate,
      duration: LONGEST_S,
      requests: PATHS.map((path) => ({ path })),
    },
    (error: unknown, result) => {
      if (error instanceof Error) reject(error)
      else resolve(result)
    },
  )
  const least = new Promise((done) => setTimeout(done, seconds * 1000))
  const [result] = await Promise.all([work(), least]).finally(() => asking.stop())
  const { requests, latency, errors, timeouts, non2xx, duration } = await promise
  return {
    result,
    answers: {
      perSecond: requests.total / duration,
      p99Ms: latency.p99,
      slowestMs: latency.max,
      failed: errors + timeouts + non2xx,
    },
  }
}

/** Enough for the rate with answers that take milliseconds. */
const CONNECTIONS = 20
/** It is stopped before. */
const LONGEST_S = 3_600
