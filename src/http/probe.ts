import { cleanError } from '../telemetry/errorText.ts'

/** What the last look at the database found. */
export type ProbeResult =
  | { readonly ok: true; readonly latencyMs: number }
  /** `class` is a class name, never a message. */
  | { readonly ok: false; readonly class: string }

/** Asks the database whether it is there: never more than once a second, never waited for longer than the limit. */
export interface DatabaseProbe {
  look(): Promise<ProbeResult>
}

/** A result is shared for this long: checks of several proxies and people together cost one round trip a second. */
const FRESH_MS = 1000

/**
 * An outage is told within 2 s: a result may be a second old, and the round trip after it may hang for this long. A
 * database that is only slow is called away by the same measure, and back a second later.
 */
const PATIENCE_MS = 750

/**
 * A round trip that hangs is not followed by another until it is this old, or every second one more connection
 * would hang; after that it is given up, or one lost socket would keep us disconnected for ever.
 */
const HUNG_MS = 10_000

/**
 * @param probe one round trip; may hang, may reject
 * @param now monotonic milliseconds
 */
export function createProbe(probe: () => Promise<void>, now = () => performance.now()): DatabaseProbe {
  let last: { result: ProbeResult; at: number } | undefined
  let underWay: { result: Promise<ProbeResult>; since: number } | undefined

  function begin(): Promise<ProbeResult> {
    const since = now()
    const mine = { result: settle(since), since }
    underWay = mine
    void mine.result.then((result) => {
      if (underWay !== mine) return
      underWay = undefined
      last = { result, at: now() }
    })
    return mine.result
  }

  async function settle(since: number): Promise<ProbeResult> {
    try {
      await probe()
      return { ok: true, latencyMs: Math.round((now() - since) * 10) / 10 }
    } catch (error) {
      return { ok: false, class: cleanError(error).class }
    }
  }

  return {
    async look() {
      if (last !== undefined && now() - last.at < FRESH_MS) return last.result
      const joined = underWay !== undefined && now() - underWay.since < HUNG_MS ? underWay : undefined
      const waited = joined === undefined ? PATIENCE_MS : PATIENCE_MS - (now() - joined.since)
      // Whoever joins one that is already known to hang learns so at once.
      if (waited <= 0) return HUNG
      return within(joined?.result ?? begin(), waited)
    },
  }
}

const HUNG: ProbeResult = { ok: false, class: 'ProbeTimeout' }

async function within(result: Promise<ProbeResult>, limitMs: number): Promise<ProbeResult> {
  const limit = Promise.withResolvers<ProbeResult>()
  // A process that was frozen or busy wakes with the limit passed and the answer unread: that is read first.
  const timer = setTimeout(() => setImmediate(() => limit.resolve(HUNG)), limitMs)
  try {
    return await Promise.race([result, limit.promise])
  } finally {
    clearTimeout(timer)
  }
}
