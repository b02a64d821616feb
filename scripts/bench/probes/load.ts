import { setTimeout as pause } from 'node:timers/promises'
import { Pool } from 'undici'

/*
 * Asks at a steady rate: each request has its time, and is sent then, whatever became of those before it. A tool that waits for
 * an answer before it asks again asks less of whoever is slow; and autocannon, which is used elsewhere here, sends what is due in a
 * second in one go at its beginning (lib/httpClient.js), which is another load than that of proxies and scrapers.
 *
 * It asks on the cores that the work is done on, so it asks cheaply: what a request costs here would be taken for what it costs there.
 */

/** What proxies and scrapers ask, one after another. */
export const PATHS = ['/health', '/ready', '/metrics'] as const

export interface Answers {
  /** Asked, a second: as many as wished for, unless the machine has no time for it. */
  readonly askedPerSecond: number
  /** Answered, a second. */
  readonly perSecond: number
  /** From when each was to be sent. */
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
  const asking = startAsking(address, rate)
  try {
    const [result] = await Promise.all([work(), pause(seconds * 1000)])
    return { result, answers: await asking.stop() }
  } catch (error) {
    await asking.stop()
    throw error
  }
}

/** As many as a few proxies keep open. */
const CONNECTIONS = 20
/** So often what is due is sent. */
const TICK_MS = 5
const TIMEOUT_MS = 10_000

function startAsking(address: string, rate: number) {
  const pool = new Pool(address, {
    connections: CONNECTIONS,
    headersTimeout: TIMEOUT_MS,
    bodyTimeout: TIMEOUT_MS,
  })
  const startedAt = performance.now()
  const tookMs: number[] = []
  const open = new Set<Promise<void>>()
  let sent = 0
  let failed = 0

  /** Without the streams that `request` and `fetch` make of an answer. */
  function ask(path: string, dueAt: number): Promise<void> {
    return new Promise((resolve) => {
      pool.dispatch(
        { method: 'GET', path },
        {
          onRequestStart: () => undefined,
          onResponseData: () => undefined,
          onResponseStart(_controller, status) {
            if (status !== 200) failed += 1
          },
          onResponseEnd() {
            tookMs.push(performance.now() - dueAt)
            resolve()
          },
          onResponseError() {
            failed += 1
            resolve()
          },
        },
      )
    })
  }

  const timer = setInterval(() => {
    const due = Math.floor(((performance.now() - startedAt) / 1000) * rate)
    for (; sent < due; sent += 1) {
      const asked = ask(PATHS[sent % PATHS.length] ?? '/health', startedAt + (sent * 1000) / rate)
      open.add(asked)
      void asked.then(() => open.delete(asked))
    }
  }, TICK_MS)

  return {
    async stop(): Promise<Answers> {
      clearInterval(timer)
      const askedFor = (performance.now() - startedAt) / 1000
      await Promise.all(open)
      const lasted = (performance.now() - startedAt) / 1000
      await pool.destroy()
      const sorted = tookMs.toSorted((a, b) => a - b)
      return {
        askedPerSecond: sent / askedFor,
        perSecond: (tookMs.length - failed) / lasted,
        p99Ms: sorted[Math.floor(sorted.length * 0.99)] ?? 0,
        slowestMs: sorted.at(-1) ?? 0,
        failed,
      }
    },
  }
}
