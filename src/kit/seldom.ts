import { within } from './within.ts'

/**
 * A question that is asked only when somebody wants its answer, and then seldom: an answer serves everybody for a while, and a
 * question that takes long is asked less often, so that it never costs more than its share.
 *
 *     nobody asks ── get, need ──▶ under way ──answered──▶ known ──everyMs over; get, need──▶ under way, known …
 *                                     └──failed──▶ not known; get: asked again after everyMs, need: at once ──▲
 *
 * - *It takes longer than whoever wants it waits* (`get`): that one gets what was known before, unless that is too old. The
 *   question goes on, and the next one to come has its answer.
 * - *Nobody can do without it* (`need`): who comes while it is under way waits for it, and fails as it fails.
 * - *What was known is wrong by now* (`forget`): nothing is known, and the answer of a question under way does not count.
 */
export interface Seldom<T> {
  /** The newest answer, and how old it is; undefined: not known. Waits for one that is due for so long at most. */
  get(patienceMs: number): Promise<Answer<T> | undefined>
  /** The newest answer, however long that takes. Rejects as the question does, which is then asked again when needed next. */
  need(): Promise<T>
  /** The newest answer as `get` gives it, without asking. */
  known(): Answer<T> | undefined
  forget(): void
}

export interface Answer<T> {
  readonly value: T
  readonly ageMs: number
}

export interface SeldomOptions<T> {
  readonly ask: () => Promise<T>
  /** The least time from one question to the next. */
  readonly everyMs: () => number
  /** An answer older than this is not given any more. Default: an answer is given until there is another. */
  readonly keepMs?: () => number
  /** Of the time, the share in which the question may be under way; 1: all of it. Default: a twentieth. */
  readonly share?: number
  /** However long a question takes, it is asked again after this: it may have taken so long only once. Default: a minute. */
  readonly longestMs?: number
  /** Milliseconds, monotonic. Default: the process's own. */
  readonly now?: () => number
}

export const SHARE = 1 / 20

const LONGEST_MS = 60_000

export function createSeldom<T>({
  ask,
  everyMs,
  keepMs = () => Number.POSITIVE_INFINITY,
  share = SHARE,
  longestMs = LONGEST_MS,
  now = () => performance.now(),
}: SeldomOptions<T>): Seldom<T> {
  let found: { readonly value: T; readonly at: number } | undefined
  /** Of its answer nobody may want to hear any more, not even that it failed. */
  let underWay: { readonly answer: Promise<T>; readonly age: number } | undefined
  let nextAt = Number.NEGATIVE_INFINITY
  /** How often what was known was forgotten. */
  let age = 0

  /** A question that may always be under way need not be kept from it. */
  const restMs = (tookMs: number): number => (share < 1 ? tookMs / share : 0)

  function begin(): Promise<T> {
    const at = now()
    const mine = { answer: answered(at), age }
    underWay = mine
    const over = (): void => {
      nextAt = Math.max(at + everyMs(), now() + Math.min(longestMs, restMs(now() - at)))
      if (underWay === mine) underWay = undefined
    }
    mine.answer.then(over, over)
    return mine.answer
  }

  async function answered(at: number): Promise<T> {
    const before = age
    try {
      const value = await ask()
      if (before === age) found = { value, at }
      return value
    } catch (error) {
      if (before === age) found = undefined
      throw error
    }
  }

  function known(): Answer<T> | undefined {
    if (found === undefined) return undefined
    const ageMs = now() - found.at
    return ageMs <= keepMs() ? { value: found.value, ageMs } : undefined
  }

  return {
    known,
    async get(patienceMs) {
      if (underWay === undefined && now() >= nextAt) void begin()
      if (underWay !== undefined && patienceMs > 0) await within(patienceMs, underWay.answer)
      return known()
    },
    async need() {
      if (underWay?.age === age) return underWay.answer
      return found === undefined || now() >= nextAt ? begin() : found.value
    },
    forget() {
      found = undefined
      age += 1
    },
  }
}
