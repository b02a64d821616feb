/**
 * Claiming ahead: where handlers take less time than a claim, claims would be all that anybody waits for. So a processor of one
 * message a call claims more than it has places for, and what is too many waits here until a place is free.
 *
 * A message that waits is claimed, and in work. Its handler has not begun, so whatever ends the wait costs no attempt. The
 * claim therefore leaves `attempts` alone and says so in the row: `locked_at` is NULL. Two things count it later, whichever is
 * first:
 *
 * - *its outcome*: most handlers that are worth claiming ahead for have ended before anything else happens.
 * - *a mark* (outcomes.ts): handlers that run on are counted a few milliseconds after they began. Not those of transactions, which
 *   hold the row: what is claimed ahead for them counts at their end.
 *
 * - *The process dies*: what waited, and what began and was not marked yet, costs no attempt. The message that is to
 *   blame may be among the latter. But all of it comes back as suspect, and a suspect is claimed alone and counted by its
 *   claim: who ends a process at once gets one attempt more than its limit, and no neighbour pays.
 * - *The mark cannot be written*: it is tried again; the outcome counts in any case.
 * - *Handlers turn slow*: nothing more is claimed ahead, and what waits for too long is given back, so that others may
 *   have it.
 * - *A drain, a pause, a lost lease*: what waits is given back unrun, at once.
 */

/** As much as is begun in this time is claimed ahead: a claim of a thousand takes about as long. */
const AHEAD_MS = 25

/** With no-op handlers, larger claims gained nothing (measured by the bench); they are memory, and work that others could have. */
const MOST_AHEAD = 1_000

/** What waits for longer was claimed for faster handlers, and others may have places for it. */
export const LONGEST_WAIT_MS = 500

/** The newest span weighs as much as all before it: handlers that turn slow must be noticed within a few claims. */
const NEWEST_SHARE = 0.5

/**
 * How fast handlers end while there are any: how many are worth claiming beyond the places there are. Time in which none ran,
 * since a claim was waited for, is left out: the slower claims are, the more is needed ahead of them.
 */
export class Pace {
  readonly #now: () => number
  #perMs = 0
  #busyMs = 0
  #busySince: number | undefined
  #ended = 0

  /** @param now monotonic milliseconds */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now
  }

  /** The first handler has begun, or the last one that ran has ended. */
  turned(isBusy: boolean): void {
    if (isBusy) this.#busySince ??= this.#now()
    else {
      this.#busyMs += this.#runningMs
      this.#busySince = undefined
    }
  }

  /** A handler has ended. */
  ended(): void {
    this.#ended += 1
  }

  /** It was not the pace that it seemed. */
  forget(): void {
    this.#perMs = 0
    this.#restart()
  }

  /** Messages to claim beyond the free places; 0 where a claim is the least of the wait. */
  ahead(places: number): number {
    const busyMs = this.#busyMs + this.#runningMs
    if (busyMs >= 1) {
      this.#perMs += (this.#ended / busyMs - this.#perMs) * NEWEST_SHARE
      this.#restart()
    }
    const ahead = Math.min(Math.floor(this.#perMs * AHEAD_MS), MOST_AHEAD)
    return ahead > places ? ahead : 0
  }

  get #runningMs(): number {
    return this.#busySince === undefined ? 0 : this.#now() - this.#busySince
  }

  #restart(): void {
    this.#busyMs = 0
    this.#ended = 0
    if (this.#busySince !== undefined) this.#busySince = this.#now()
  }
}
