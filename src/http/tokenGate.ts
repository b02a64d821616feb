/**
 * One gate a token: every wrong one is counted here, whichever way it came, by where it came from.
 *
 *     given ─▶ too many wrong ones from there? ─▶ the right one? ─▶ right
 *                 └▶ not looked at, for a while       └▶ wrong, counted
 *
 * Past a few wrong ones nothing from that place is looked at for a minute, the right token included, or guesses would go on.
 * That must lock out nobody elsewhere, and there must always be a way in:
 *
 * - Places are addresses, or IPv6 networks of one customer, and know nothing of each other.
 * - An address that many may share (a proxy's, in front of us) is not held up where the token comes in a header: one of the
 *   many could keep out all. Guesses by that way are not slowed down there; the length of the token is what stands against them.
 * - The same of an address from which the right token has come in a header: whoever shares it with a sender (behind a network of
 *   caches, or an office's one address) could keep that sender out with five requests a minute.
 * - The form of the dashboard is held up there, too, since programs and the command line are a way past it.
 * - Each token has a gate of its own: a sender with a wrong INTAKE_TOKEN holds up no operator behind the same address.
 *
 * Signatures are not counted: anybody can have a service that signs with their own secret send to us, from the address that
 * our own signed messages come from, and a key of 24 random bytes is guessed by nobody.
 */
import type { Context } from 'hono'
import { callerOf } from './caller.ts'
import type { Caller } from './caller.ts'
import { sameSecret } from './guard.ts'

export type Judgement =
  { readonly is: 'right' | 'wrong' } | { readonly is: 'unheard'; readonly waitS: number }

/** How a token came. */
export type Way = 'header' | 'form'

export interface TokenGate {
  /** Looks at a token that came with a request. */
  judge(context: Context, given: string, way: Way): Judgement
}

/** So many wrong tokens are a person's mistakes. */
const FREE = 5
const WINDOW_MS = 60_000
/** Places remembered, a few megabytes: whoever has more addresses than this is not slowed down by counting them. */
const MOST = 10_000

/** Places that are known to have the token; only whoever has it can add one. */
const KNOWN_MOST = 1_000

/** @param behindFly see `callerOf`  @param now monotonic milliseconds */
export function createTokenGate(
  expected: string,
  behindFly: boolean,
  now = () => performance.now(),
): TokenGate {
  const failures = createFailures(now)
  const known = new Set<string>()

  function isHeldUp({ place, isShared }: Caller, way: Way): boolean {
    return way === 'form' || (!isShared && !known.has(place))
  }

  function isRightFrom(place: string, way: Way): void {
    failures.forget(place)
    if (way === 'header' && known.size < KNOWN_MOST) known.add(place)
  }

  return {
    judge(context, given, way) {
      const isRight = sameSecret(given, expected)
      const caller = callerOf(context, behindFly)
      const waitS = isHeldUp(caller, way) ? failures.waitSeconds(caller.place) : 0
      if (waitS > 0) return { is: 'unheard', waitS }
      if (isRight) isRightFrom(caller.place, way)
      else failures.add(caller.place)
      return { is: isRight ? 'right' : 'wrong' }
    },
  }
}

interface Failures {
  /** Seconds until somebody from there is heard again; 0: now. */
  waitSeconds(place: string): number
  add(place: string): void
  forget(place: string): void
}

function createFailures(now: () => number): Failures {
  const places = new Map<string, { readonly count: number; readonly until: number }>()

  function at(place: string) {
    const known = places.get(place)
    if (known === undefined || known.until > now()) return known
    places.delete(place)
    return undefined
  }

  return {
    waitSeconds(place) {
      const known = at(place)
      return known === undefined || known.count < FREE ? 0 : Math.ceil((known.until - now()) / 1000)
    },
    add(place) {
      const count = (at(place)?.count ?? 0) + 1
      // Set anew, it is the youngest; the oldest makes room.
      places.delete(place)
      places.set(place, { count, until: now() + WINDOW_MS })
      const [oldest] = places.keys()
      if (places.size > MOST && oldest !== undefined) places.delete(oldest)
    },
    forget: (place) => void places.delete(place),
  }
}
