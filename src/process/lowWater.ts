/**
 * Where to look for fresh messages, without an index that mentions status.
 *
 * Fresh messages are found by their number, from a mark on. Three marks, each for all sources of one processor:
 *
 * - *settled*: at or below it nothing fresh is open, for as long as the server forgets nothing. Proven, kept in
 *   `inbox_low_water`, only grows.
 * - *low*: where the next claim begins. A hint: it may have passed a message that was not visible then, or whose claim
 *   by somebody else came to nothing.
 * - *head*: the newest number seen.
 *
 * Everything that comes back (failed, given back, reclaimed) has `next_attempt_at` and is found by an index of its own,
 * so only fresh messages need this. Numbers are drawn before their transaction commits, so a number below the head may
 * still appear: the same gap as a source's. It is closed the same way. A look back notes the head and who holds the
 * insert lock of the table (a statement takes it before it draws numbers and keeps it until its transaction ends). When
 * a later look sees none of those any more, everything up to that head is visible to the look after it, and settled
 * moves up to just below the first open message that *that* look finds.
 *
 * A look walks from settled to the head, so it is made at most once a second, and less often when it takes long. When
 * it finds a fresh message below low, low goes back to it: that is how a message that was passed over is found again.
 *
 * A prepared transaction that holds the insert lock has no name that lasts, so while there is one nothing is closed.
 *
 * What was committed can be lost: a replica that lagged takes over, or the server crashes while commits do not wait for its
 * disk. Then numbers are given again and what was finished is open again, below marks that outlive it here. So these hold
 * for one *boot* only: one life of one server's memory. A look that finds another boot, or a head below what it knows,
 * forgets them all and throws, and the kept mark is read again. That one can be believed: it was written after everything
 * that proves it, so a server that has the mark has the rest too. Hence it is written only on the boot that it was proven
 * on. What can still part it from its inbox is a person who restores, empties or cuts one of the two tables; low_water sees
 * to that.
 */
import type { Queryable } from '../db/pool.ts'
import { lookBack, raiseLowWater, readLowWater } from '../tables/lowWater.ts'

const LOOK_EVERY_MS = 1_000

/** A look may take at most one part in this many of the time. */
const LOOK_SHARE = 20

/**
 * The kept mark saves a walk to whoever looks at the inbox from outside (status, metrics, history), and after a restart. So it is
 * written when it has come as far as one stretch of such a walk, and else now and then.
 */
const KEEP_EVERY_MS = 10_000
const KEEP_EVERY_MESSAGES = 5_000n

/** Marks, and outcomes that were written, may be gone from the database: whoever relied on them must look again. */
class DatabaseWentBack extends Error {
  override readonly name = 'DatabaseWentBack'
  constructor() {
    super(
      'the database was restarted or replaced, or its newest messages are gone: what is open is looked up anew',
    )
  }
}

export class LowWater {
  readonly #db: Queryable
  readonly #sources: readonly string[]
  #settled: bigint | undefined
  #low = 0n
  #candidate: { head: bigint; writers: ReadonlySet<string> } | undefined
  /** Everything up to here is committed or never will be. */
  #closed = 0n
  /** What all of these are true of. Known when settled is. */
  #boot = ''
  #nextLookAt = 0
  #kept = 0n
  #keptAt = 0
  /** When the newest look was asked for, by the monotonic clock. */
  lookedAt = Number.NEGATIVE_INFINITY
  /** The first fresh message that nobody had claimed, of all sources, as the newest look saw it. */
  firstNew: bigint | undefined
  /** Whether suspects wait to be claimed, as the newest look or whoever claimed the last one knows. */
  suspects = false
  /** Whether the newest look saw every message of these sources finished: none is fresh, in work, or waits for its time. */
  allFinished = false

  constructor(db: Queryable, sources: readonly string[]) {
    this.#db = db
    this.#sources = sources
  }

  /** Where the next claim begins. Reads the kept mark the first time, and when what was known is no longer true. */
  async low(): Promise<string> {
    if (this.#settled === undefined) {
      const { low, boot } = await readLowWater(this.#db, this.#sources)
      this.#boot = boot
      this.#settled = BigInt(low)
      this.#low = this.#settled
      this.#kept = this.#settled
    }
    return this.#low.toString()
  }

  /** Nothing fresh is open at or below it. */
  get settled(): string {
    return (this.#settled ?? 0n).toString()
  }

  /** Fresh messages were claimed, up to this number. */
  claimed(upTo: bigint): void {
    if (upTo > this.#low) this.#low = upTo
  }

  /** Whether a look is due. */
  due(now: number): boolean {
    return now >= this.#nextLookAt
  }

  /**
   * Looks back. Resolves to the milliseconds until something that waits falls due, or undefined.
   * @throws DatabaseWentBack when what was known until now is no longer true.
   */
  async look(): Promise<number | undefined> {
    await this.low()
    const settled = this.#settled ?? 0n
    const startedAt = performance.now()
    const seen = await lookBack(this.#db, this.#sources, settled.toString())
    this.lookedAt = startedAt
    const endedAt = performance.now()
    this.#nextLookAt = endedAt + Math.max(LOOK_EVERY_MS, (endedAt - startedAt) * LOOK_SHARE)

    this.suspects = seen.suspects
    this.allFinished = seen.first_open === null && seen.next_due_ms === null && !seen.suspects
    const head = BigInt(seen.head)
    if (seen.boot !== this.#boot || head < settled || head < this.#closed) {
      this.#forget()
      throw new DatabaseWentBack()
    }
    const firstNew = seen.first_new === null ? undefined : BigInt(seen.first_new)
    this.firstNew = firstNew
    if (firstNew !== undefined && firstNew <= this.#low) this.#low = firstNew - 1n
    const firstOpen = seen.first_open === null ? undefined : BigInt(seen.first_open)
    const proven = firstOpen === undefined || firstOpen > this.#closed ? this.#closed : firstOpen - 1n
    if (proven > settled) this.#settled = proven
    if (proven > this.#low) this.#low = proven
    this.#close(head, seen.writers)
    await this.#keep(endedAt)
    return seen.next_due_ms === null ? undefined : Math.max(0, Number(seen.next_due_ms))
  }

  #forget(): void {
    this.#settled = undefined
    this.#candidate = undefined
    this.#closed = 0n
  }

  /** What this look closes counts from the next look on: its own snapshot may be older than what it saw. */
  #close(head: bigint, writers: readonly string[]): void {
    const candidate = this.#candidate
    const nameless = writers.some((writer) => writer.startsWith('-1/'))
    if (candidate !== undefined && (nameless || writers.some((writer) => candidate.writers.has(writer))))
      return
    if (candidate !== undefined && candidate.head > this.#closed) this.#closed = candidate.head
    this.#candidate = nameless ? undefined : { head, writers: new Set(writers) }
  }

  async #keep(now: number): Promise<void> {
    const settled = this.#settled ?? 0n
    const ahead = settled - this.#kept
    if (ahead <= 0n || (ahead < KEEP_EVERY_MESSAGES && now - this.#keptAt < KEEP_EVERY_MS)) return
    await raiseLowWater(this.#db, this.#sources, settled.toString(), this.#boot)
    this.#kept = settled
    this.#keptAt = now
  }
}
