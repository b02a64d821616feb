import type { Queryable } from '../db/pool.ts'
import { inWorkElsewhere } from '../tables/inbox.ts'
import type { LowWater } from './lowWater.ts'

/** What another instance has in work of an exclusive processor's sources: a new leader claims nothing beside it. */
export class Elsewhere {
  readonly #db: Queryable
  readonly #sources: readonly string[]
  readonly #instanceId: string
  readonly #lowWater: LowWater

  constructor(db: Queryable, sources: readonly string[], instanceId: string, lowWater: LowWater) {
    this.#db = db
    this.#sources = sources
    this.#instanceId = instanceId
    this.#lowWater = lowWater
  }

  async someInWork(): Promise<boolean> {
    try {
      // A stand-by may have read its mark long ago, from a database that is no longer the one there is.
      if (this.#lowWater.due(performance.now())) await this.#lowWater.look()
      // From the proven mark: the next claim's is a hint, and may have passed what another instance has.
      return await inWorkElsewhere(this.#db, this.#sources, this.#instanceId, this.#lowWater.settled)
    } catch {
      return true // the database is away: not known, so not yet
    }
  }
}
