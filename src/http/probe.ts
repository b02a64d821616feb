import { cleanError } from '../telemetry/errorText.ts'

/** What the last look at the database found. */
export type ProbeResult =
  | { readonly ok: true; readonly latencyMs: number }
  /** `class` is a class name, never a message. */
  | { readonly ok: false; readonly class: string }

/**
 * Tells whether the database is there. It asks by itself only when nothing else has been answered of late: never more than
 * once a second, never waited for longer than the limit.
 */
export interface DatabaseProbe {
  look(): Promise<ProbeResult>
  /** The database has answered somebody's statement. */
  heard(): void
  /** Milliseconds until what is known is too old to be believed. */
  readonly staleInMs: number
}

/** A result is shared for this long: checks of several proxies and people together cost one round trip a second. */
const FRESH_MS = 1000

/**
 * An answer to any statement is a sign of life for this long. More than the second between two things that an idle instance
 * asks anyway (runner/pauses.ts); with the patience below still less than 2 s.
 */
const SIGN_MS = 1_100

/** Our own way is tried at least this often, so that it is not found broken on the day on which it is needed. */
const OWN_WAY_MS = 15_000

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
  let triedAt = Number.NEGATIVE_INFINITY
  let latencyMs = 0
  let heardAt = Number.NEGATIVE_INFINITY
  let underWay: { result: Promise<ProbeResult>; since: number } | undefined

  function begin(): Promise<ProbeResult> {
    const since = now()
    triedAt = since
    const mine = { result: settle(since), since }
    underWay = mine
    void mine.result.then((result) => {
      if (underWay !== mine) return
      underWay = undefined
      last = { result, at: now() }
      if (result.ok) latencyMs = result.latencyMs
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

  /** Somebody was answered of late. */
  const sign = (): ProbeResult | undefined =>
    now() - heardAt < SIGN_MS ? { ok: true, latencyMs } : undefined

  return {
    async look() {
      const known = now() - triedAt < OWN_WAY_MS ? sign() : undefined
      if (known !== undefined) return known
      if (last !== undefined && now() - last.at < FRESH_MS) return last.result
      const joined = underWay !== undefined && now() - underWay.since < HUNG_MS ? underWay : undefined
      const waited = joined === undefined ? PATIENCE_MS : PATIENCE_MS - (now() - joined.since)
      // Whoever joins one that is already known to hang learns so at once.
      const result = waited <= 0 ? HUNG : await within(joined?.result ?? begin(), waited)
      // One connection that hangs or breaks while others are answered is no outage.
      return result.ok ? result : (sign() ?? result)
    },
    heard: () => void (heardAt = now()),
    get staleInMs() {
      const ownUntil = last?.result.ok === true ? last.at + FRESH_MS : now()
      return Math.max(0, ownUntil - now(), sign() === undefined ? 0 : heardAt + SIGN_MS - now())
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
