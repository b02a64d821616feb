/**
 * Quarantine: how a message that may end the process is run with nothing beside it.
 *
 * When a process dies or freezes, each message that it had in work may be the reason: all of them become *suspects*. A
 * death costs each of them an attempt, a freeze only those that were suspects before it. From then on a suspect is in work
 * only while nothing else is, in any processor of the instance. So a message that ends or blocks its process costs those
 * beside it one attempt at most: the first time.
 *
 *     open ──a processor asks──▶ shut ──nothing is in work──▶ alone ──turn over, or no suspect left──▶ open
 *                                 └──patience ran out──────────────────────────────────────────────────┘
 *
 * - *open*: everybody claims, suspects are left where they are.
 * - *shut*: nobody claims; what is in work goes on. A handler that runs for long must not hold up everything for ever, so
 *   this ends after some patience, which doubles from one vain wait to the next. After the longest one the suspect begins
 *   beside what is still in work, whether its handler runs on or its outcome cannot be written because somebody has its
 *   row locked. So every suspect has its turn, and no silence is longer.
 * - *alone*: the one that asked runs suspects, one after another. One that runs on and on *lingers*: the others claim
 *   again beside it, since most that take long do nothing worse; but no other suspect begins before it has ended. What a
 *   slow killer takes with it then has lost its first attempt by it, and is a suspect itself.
 *
 * After each time that it was shut it is open for at least as long: suspects take half of the time at most.
 *
 * What has only its outcome to be written is in work too. It ends no process, but a process that ended now would take the
 * outcome with it: an attempt of a message that was done.
 */

/** What a processor may claim now. */
export type Turn = 'anything' | 'one suspect' | 'nothing'

const PATIENCE_MS = 2_000

/** With ALONE_MS half a minute without a claim: as much as nobody takes for a standstill. */
const LONGEST_PATIENCE_MS = 24_000

/** Suspects are run for so long before the others have their turn. */
const TURN_MS = 2_000

/** The one that runs then finishes alone, unless that takes longer than this. */
const ALONE_MS = 6_000

const OPEN_LEAST_MS = 1_000

export class Quarantine {
  readonly #now: () => number
  readonly #wakes = new Map<string, () => void>()
  /** Claims under way and handler calls not settled, in all processors, but for those that were passed over. */
  readonly #held = new Set<symbol>()
  readonly #lingering = new Set<symbol>()
  #owner: string | undefined
  #shutAt = 0
  #aloneAt: number | undefined
  #patienceMs = PATIENCE_MS
  #openUntil = Number.NEGATIVE_INFINITY

  /** @param now monotonic milliseconds */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now
  }

  /** `wake` is called when this processor's turn may have come. */
  join(processor: string, wake: () => void): void {
    this.#wakes.set(processor, wake)
  }

  /** What this processor may claim. Whoever is told so must `hold` before anything else can happen. */
  turn(processor: string, hasSuspects: boolean): Turn {
    const now = this.#now()
    if (this.#owner !== undefined && this.#isOver(now)) {
      if (this.#aloneAt === undefined && this.#patienceMs === LONGEST_PATIENCE_MS) this.#passOver()
      else this.#open()
    }
    if (this.#owner === undefined && hasSuspects && now >= this.#openUntil && this.#lingering.size === 0) {
      this.#owner = processor
      this.#shutAt = now
    }
    if (this.#owner === undefined) return 'anything'
    if (this.#owner !== processor) return 'nothing'
    if (!hasSuspects) {
      this.#open()
      return 'anything'
    }
    if (this.#held.size > 0) return 'nothing'
    this.#aloneAt ??= now
    return 'one suspect'
  }

  /** Milliseconds until it may be shut again. */
  get askableInMs(): number {
    return Math.max(0, this.#openUntil - this.#now())
  }

  /** This processor claims no more: if the turn was its own, it is over. */
  leave(processor: string): void {
    if (this.#owner === processor) this.#open()
  }

  /** Something is in work. Call the result, once, when it no longer is. */
  hold(): () => void {
    const one = Symbol('in work')
    this.#held.add(one)
    return () => {
      this.#held.delete(one)
      this.#lingering.delete(one)
      if (this.#held.size === 0 && this.#owner !== undefined) this.#wakes.get(this.#owner)?.()
    }
  }

  #isOver(now: number): boolean {
    if (this.#aloneAt === undefined) return now - this.#shutAt > this.#patienceMs
    return now - this.#aloneAt > (this.#held.size === 0 ? TURN_MS : ALONE_MS)
  }

  /** What is in work holds nothing up any more. */
  #passOver(): void {
    this.#held.clear()
    this.#aloneAt = this.#now()
    if (this.#owner !== undefined) this.#wakes.get(this.#owner)?.()
  }

  #open(): void {
    const now = this.#now()
    if (this.#aloneAt !== undefined) for (const one of this.#held) this.#lingering.add(one)
    this.#patienceMs =
      this.#aloneAt === undefined ? Math.min(this.#patienceMs * 2, LONGEST_PATIENCE_MS) : PATIENCE_MS
    this.#openUntil = now + Math.max(OPEN_LEAST_MS, now - this.#shutAt)
    this.#owner = undefined
    this.#aloneAt = undefined
    for (const wake of this.#wakes.values()) wake()
  }
}
