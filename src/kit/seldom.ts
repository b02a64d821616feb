import { within } from './within.ts'

/**
 * A question that is asked only when somebody wants its answer, and then seldom: an answer serves everybody for a while, and a
 * question that takes long is asked less often, so that it never costs more than its share.
 *
 *     nobody asks ── get ──▶ under way ──answered──▶ known ──everyMs over, get──▶ under way, known …
 *                               └──failed──▶ not known, asked again after everyMs ──▲
 *
 * - *It takes longer than whoever wants it waits*: that one gets what was known before, unless that is too old. The question
 *   goes on, and the next one to come has its answer.
 * - *What was known is wrong by now* (`forget`): nothing is known, and the answer of a question under way does not count.
 */
export interface Seldom<T> {
  /** The newest answer, and how old it is; undefined: not known. Waits for one that is due for so long at most. */
  get(patienceMs: number): Promise<{ readonly value: T; readonly ageMs: number } | undefined>
  forget(): void
}

export interface SeldomOptions<T> {
  readonly ask: () => Promise<T>
  /** The least time between two questions. */
  readonly everyMs: () => number
  /** An answer older than this is not given any more. */
  readonly keepMs: () => number
  /** However long a question takes, it is asked again after this: it may have taken so long only once. Default: a minute. */
  readonly longestMs?: number
  /** Milliseconds, monotonic. Default: the process's own. */
  readonly now?: () => number
}

/** Of the time, the share in which a question may be under way. */
export const SHARE = 1 / 20

const LONGEST_MS = 60_000

export function createSeldom<T>({
  ask,
  everyMs,
  keepMs,
  longestMs = LONGEST_MS,
  now = () => performance.now(),
}: SeldomOptions<T>): Seldom<T> {
  let known: { value: T; at: number } | undefined
  let underWay: Promise<void> | undefined
  let nextAt = Number.NEGATIVE_INFINITY
  let forgotten = 0

  async function begin(): Promise<void> {
    const at = now()
    const before = forgotten
    try {
      const value = await ask()
      if (before === forgotten) known = { value, at }
    } catch {
      known = undefined
    }
    const tookMs = now() - at
    nextAt = Math.max(at + everyMs(), now() + Math.min(longestMs, tookMs / SHARE))
    underWay = undefined
  }

  return {
    async get(patienceMs) {
      if (underWay === undefined && now() >= nextAt) underWay = begin()
      if (underWay !== undefined && patienceMs > 0) await within(patienceMs, underWay)
      if (known === undefined) return undefined
      const ageMs = now() - known.at
      return ageMs <= keepMs() ? { value: known.value, ageMs } : undefined
    },
    forget() {
      known = undefined
      forgotten += 1
    },
  }
}
