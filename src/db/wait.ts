import { setTimeout as sleepFor } from 'node:timers/promises'
import { DatabaseUnavailable, isRefusal } from '../errors.ts'
import { cleanError } from '../telemetry/errorText.ts'
import type { Log } from '../telemetry/log.ts'
import { addressOf, closeClient, openClient } from './connection.ts'
import { errorClass } from './sqlstate.ts'

export interface WaitOptions {
  /** Tries in all, 1 or more. */
  readonly attempts: number
  /** Limit of one try: connecting, and again answering, in milliseconds. */
  readonly timeoutMs: number
  readonly log: Pick<Log, 'event'>
  /** Shown in `pg_stat_activity` while the try lasts. Default: `tidemark:wait`. */
  readonly applicationName?: string
  /** When aborted, the wait ends at once and rejects with the signal's reason. */
  readonly signal?: AbortSignal
  /** How to wait; tests put their own clock here. */
  readonly sleep?: (ms: number, signal: AbortSignal | undefined) => Promise<void>
}

/** Longest wait between two tries, however many are asked for. */
const MAX_WAIT_S = 30

/** Seconds to wait before a try, counted from 1: 0, 2, 4, 8, 16, and 30 for all that follow. */
export function waitBeforeS(attempt: number): number {
  return attempt <= 1 ? 0 : Math.min(MAX_WAIT_S, 2 ** (attempt - 1))
}

/**
 * Waits until the database answers `SELECT 1`. Every failure is one line with its class and the next wait; after the
 * last it throws {@link DatabaseUnavailable}. A database that comes up two seconds after the program is ordinary.
 */
export async function waitForDatabase(url: string, options: WaitOptions): Promise<void> {
  const { attempts, log, signal, sleep = abortableSleep } = options
  const address = addressOf(url)
  const start = performance.now()
  for (let attempt = 1; ; attempt += 1) {
    const waitS = waitBeforeS(attempt)
    if (waitS > 0) await sleep(waitS * 1_000, signal)
    signal?.throwIfAborted()
    try {
      await tryOnce(url, options)
      const waitedMs = Math.round(performance.now() - start)
      log.event('database_ready', `database at ${address} answers`, { attempt, waited_ms: waitedMs })
      return
    } catch (error) {
      const { text } = cleanError(error)
      const failure = errorClass(error)
      const last = attempt >= attempts
      const nextWaitS = last ? null : waitBeforeS(attempt + 1)
      log.event(
        'database_wait',
        `database at ${address} ${isRefusal(failure) ? 'refuses us' : 'does not answer'} ` +
          `(try ${attempt} of ${attempts}): ${failure}` +
          (nextWaitS === null ? '' : `, next try in ${nextWaitS} s`),
        { attempt, class: failure, text, next_wait_s: nextWaitS },
      )
      if (last)
        throw new DatabaseUnavailable({ address, attempts, errorClass: failure, detail: text, cause: error })
    }
  }
}

async function abortableSleep(ms: number, signal: AbortSignal | undefined): Promise<void> {
  // Its own AbortError would hide the caller's reason, which waitForDatabase throws next.
  await sleepFor(ms, undefined, { signal }).catch(() => undefined)
}

async function tryOnce(
  url: string,
  { timeoutMs, applicationName = 'tidemark:wait' }: WaitOptions,
): Promise<void> {
  const client = await openClient({
    url,
    applicationName,
    connectTimeoutMs: timeoutMs,
    limits: { statementTimeoutMs: timeoutMs, lockTimeoutMs: 0, idleInTransactionMs: 0 },
    // The address may be a pooler's, which refuses startup options; the client's own limit is enough here.
    startupOptions: false,
  })
  try {
    await client.query('SELECT 1')
  } finally {
    await closeClient(client)
  }
}
