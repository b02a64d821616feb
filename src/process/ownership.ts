import type { Queryable } from '../db/pool.ts'
import { stillOurs } from '../tables/inbox.ts'
import type { InWork } from './inWork.ts'

/**
 * What has been in work for longer than this is looked at as often. Whatever took a message from us (we were frozen, or
 * the database was away for longer than the others' patience) takes longer, and no signal of ours is sure to tell of it:
 * a pool replaces broken connections without a word. One read by primary key is cheaper than to be wrong.
 */
const LOOK_EVERY_MS = 5_000

/**
 * An answer that took longer than this was read after the process stood still, or the database did: by then the claim may
 * be somebody else's. Others take a frozen instance's messages when it was not heard of for 5 s at the least.
 */
const LATE_MS = 3_000

/** Finds handlers whose message belongs to somebody else by now: what they still do is in vain, or done twice. */
export class Ownership {
  readonly #db: Queryable
  readonly #now: () => number
  #lookedAt = 0

  /** @param now monotonic milliseconds */
  constructor(db: Queryable, now: () => number = () => performance.now()) {
    this.#db = db
    this.#now = now
  }

  /** What a claim has brought, if its answer took suspiciously long: only what is still ours, nothing when in doubt. */
  async afterAnswer(taken: readonly InWork[], askedAt: number): Promise<readonly InWork[]> {
    if (taken.length === 0 || this.#now() - askedAt < LATE_MS) return taken
    const claims = taken.map(({ claim }) => claim)
    const ours = await stillOurs(this.#db, claims).catch(() => new Set<string>())
    return taken.filter(({ claim }) => ours.has(claim.inboxId))
  }

  /** Of what is in work, the messages that are no longer ours; none while no look is due. */
  async lost(inWork: Iterable<InWork>): Promise<ReadonlySet<InWork>> {
    const now = this.#now()
    if (now - this.#lookedAt < LOOK_EVERY_MS) return new Set()
    const old = Array.from(inWork).filter(({ claimedAt }) => now - claimedAt >= LOOK_EVERY_MS)
    if (old.length === 0) return new Set()
    const claims = old.map(({ claim }) => claim)
    const ours = await stillOurs(this.#db, claims)
    this.#lookedAt = now
    return new Set(old.filter(({ claim }) => !ours.has(claim.inboxId)))
  }
}
