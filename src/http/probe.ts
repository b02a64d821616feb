import { cleanError } from '../telemetry/errorText.ts'

/** What the last look at the database found. */
export type ProbeResult =
  | { readonly ok: true; readonly latencyMs: number }
  /** `class` is a class name, never a message. */
  | { readonly ok: false; readonly class: string }

/**
 * Tells whether the database is there. It asks by itself, over a way of its own: never more than once a second, never waited
 * for longer than the limit. It need not ask while everybody else is answered at once.
 */
export interface DatabaseProbe {
  look(): Promise<ProbeResult>
  /** Somebody asks the database something. Returns what to call when that is over: answered, or not. */
  asked(): (answered: boolean) => void
  /** Milliseconds until what is known is too old to be believed. */
  readonly staleInMs: number
}

/** A result is shared for this long: checks of several proxies and people together cost one round trip a second. */
const FRESH_MS = 1000

/**
 * A question that was answered is a sign of life for this long, from when it was asked. More than the second between two
 * things that an idle instance asks anyway (runner/pauses.ts); with the patience below still less than 2 s.
 *
 * It says nothing of other connections than its own. So it counts only while nobody waits for an answer for longer than the
 * patience, and while our own way was found good when it was tried last.
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
  let signAt = Number.NEGATIVE_INFINITY
  let isOwnGood = true
  /** When those asked who have no answer yet, the oldest first. */
  const waiting = new Set<{ readonly at: number }>()
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
      isOwnGood = result.ok
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

  const isSomebodyLeft = (): boolean => {
    const [oldest] = waiting
    return oldest !== undefined && now() - oldest.at >= PATIENCE_MS
  }

  /** Milliseconds for which there need be no question of ours. */
  function signForMs(): number {
    if (!isOwnGood || isSomebodyLeft()) return 0
    return Math.max(0, Math.min(signAt + SIGN_MS, triedAt + OWN_WAY_MS) - now())
  }

  return {
    async look() {
      if (signForMs() > 0) return { ok: true, latencyMs }
      if (last !== undefined && now() - last.at < FRESH_MS) return last.result
      const joined = underWay !== undefined && now() - underWay.since < HUNG_MS ? underWay : undefined
      const waited = joined === undefined ? PATIENCE_MS : PATIENCE_MS - (now() - joined.since)
      // Whoever joins one that is already known to hang learns so at once.
      const result = waited <= 0 ? HUNG : await within(joined?.result ?? begin(), waited)
      if (!result.ok) isOwnGood = false
      return result
    },
    asked() {
      const question = { at: now() }
      waiting.add(question)
      return (answered) => {
        waiting.delete(question)
        if (answered && question.at > signAt) signAt = question.at
      }
    },
    get staleInMs() {
      const ownMs = last?.result.ok === true ? last.at + FRESH_MS - now() : 0
      return Math.max(0, ownMs, signForMs())
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
