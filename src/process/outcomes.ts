/**
 * The outcome writer: collects what became of messages and writes it in batches.
 *
 * An outcome is *queued*, then *in a flush*, then *settled* (written, or known to be somebody else's). Flushes follow one
 * another without a pause, so under load a batch is whatever came while the one before was written.
 *
 * - *The database is away, or the statement lost a race*: the batch is kept and tried again until it is settled. The
 *   fence `(locked_by, claim)` makes a late write harmless: it finds no row when the message has gone to somebody else.
 * - *Somebody holds a message's row locked*: the batch waits for it up to the lock limit or the statement's, whichever is
 *   less, once. Then that outcome is set aside and looked at every second, so that the others go on without it.
 * - *The database refuses one for what it is*: the batch is halved down to it, and it is set aside, too. Of those that were
 *   refused one a second is tried again, and twice as many each time that none is: all of them at every look, where a whole
 *   kind is refused so, would be a statement each.
 * - *It refuses every outcome of a kind* (DONE, failed, given back) in another way: that kind rests, and the others do not wait
 *   for it. A drain gives back what it can, whatever else cannot be written.
 */
import type { MayPrepare, Queryable } from '../db/pool.ts'
import { errorClass } from '../db/sqlstate.ts'
import type { ErrorClass } from '../db/sqlstate.ts'
import { backoffMs } from '../kit/backoff.ts'
import { startLoop } from '../kit/loop.ts'
import { countBegun, giveBack, lockedByOthers, writeDone, writeFailed } from '../tables/inbox.ts'
import type { Claim, Failure, Return } from '../tables/inbox.ts'
import { cleanError } from '../telemetry/errorText.ts'
import type { Log } from '../telemetry/log.ts'

/** `counted`: given back, and it was interrupted so often that its attempt counts. */
export type Settled = 'DONE' | 'FAILED' | 'DEAD' | 'given back' | 'counted' | 'not ours'

interface Entry<T extends Claim> {
  readonly item: T
  /** `at`: when the answer came, by the monotonic clock; one reading for a whole batch. */
  settled(state: Settled, at: number): void
}

export interface Outcomes {
  /** Most messages end so, thousands a second: told by a call, since promises would cost more than the rest. */
  done(claim: Claim, settled: Entry<Claim>['settled']): void
  failed(failure: Failure): Promise<Settled>
  giveBack(claim: Return): Promise<Settled>
  /** Handlers of what was claimed ahead run on: their attempts count from now on, if they are not settled first. */
  begun(claims: readonly Claim[]): void
  /** Outcomes not settled yet. */
  readonly pending: number
  /** Resolves when nothing is pending, or when the signal aborts. */
  idle(signal: AbortSignal): Promise<void>
  stop(): Promise<void>
}

/** One statement's worth: larger arrays gain nothing (measured by the bench) and hold more row locks. */
const BATCH = 2_000

const RETRY = { baseMs: 100, maxMs: 2_000 }

/** How often outcomes are looked at that were set aside. */
const LOCKED_LOOK_MS = 1_000

/** How a wait for a lock ends. A statement may also have been slow: then no row is found locked. */
const WAITED: ReadonlySet<ErrorClass> = new Set(['lock_timeout', 'timeout'])

/** Nothing can be written: other statements would only wait for the same. */
const AWAY: ReadonlySet<ErrorClass> = new Set(['connection', 'pool_exhausted', 'too_many_connections'])

/** One outcome is at fault, not the statement. */
const REFUSED: ReadonlySet<ErrorClass> = new Set(['data', 'constraint', 'unique'])

/** The loop sleeps until an outcome wakes it. */
const ASLEEP_MS = 60_000

/** Outcomes of one kind that wait to be written, and those of them that others must not wait for. */
class Queue<T extends Claim> {
  readonly entries: Entry<T>[] = []
  /** Their rows are somebody else's at the moment. */
  aside: Entry<T>[] = []
  /** The database did not take them for what they are. */
  #refused: Entry<T>[] = []
  /** So many of these are tried again at the next look. */
  #tries = 1
  #lookAt = 0
  #most = BATCH
  #failures = 0
  #refusals = 0
  #restsUntil = 0

  /** What is written next. */
  get head(): Entry<T>[] {
    return this.entries.slice(0, this.#most)
  }

  /** Milliseconds until it is worth trying again. */
  get restsForMs(): number {
    return Math.max(0, this.#restsUntil - performance.now())
  }

  /** The head was written. */
  wrote(count: number): void {
    this.entries.splice(0, count)
    this.#most = Math.min(BATCH, this.#most * 2)
    this.#failures = 0
  }

  /** The head could not be written. Returns how often that has been so in a row, and the milliseconds until the next try. */
  rest(): [failures: number, nextTryMs: number] {
    this.#failures += 1
    const nextTryMs = Math.round(backoffMs(this.#failures, RETRY))
    this.#restsUntil = performance.now() + nextTryMs
    return [this.#failures, nextTryMs]
  }

  /** One of the batch was refused. Returns how many were so far, when it was alone and is out of the way; 0: fewer come next. */
  narrow(batch: readonly Entry<T>[]): number {
    if (batch.length > 1) {
      this.#most = Math.ceil(batch.length / 2)
      return 0
    }
    this.#beginLooking()
    this.#refused.push(...this.entries.splice(0, 1))
    this.#tries = 1
    return (this.#refusals += 1)
  }

  /** Takes those whose rows are locked out of the way. */
  async setAside(db: Queryable, batch: readonly Entry<T>[]): Promise<void> {
    const locked = await lockedByOthers(
      db,
      batch.map(({ item }) => item),
    )
    const isLocked = ({ item }: Entry<T>): boolean => locked.has(item.inboxId)
    this.#beginLooking()
    this.aside.push(...batch.filter(isLocked))
    this.entries.splice(0, batch.length, ...batch.filter((entry) => !isLocked(entry)))
  }

  /** Whatever else is set aside before the next look does not put it off. */
  #beginLooking(): void {
    if (this.aside.length + this.#refused.length === 0) this.#lookAt = performance.now() + LOCKED_LOOK_MS
  }

  /** Brings back those whose rows are no longer locked, and some of those that were refused. */
  async bringBack(db: Queryable): Promise<void> {
    if (this.aside.length + this.#refused.length === 0 || performance.now() < this.#lookAt) return
    this.#lookAt = performance.now() + LOCKED_LOOK_MS
    if (this.#refused.length > 0) {
      this.entries.push(...this.#refused.splice(0, this.#tries))
      this.#tries *= 2
    }
    if (this.aside.length === 0) return
    const looked = this.aside.slice(0, BATCH)
    const locked = await lockedByOthers(
      db,
      looked.map(({ item }) => item),
    )
    this.entries.push(...looked.filter(({ item }) => !locked.has(item.inboxId)))
    this.aside = [...this.aside.slice(BATCH), ...looked.filter(({ item }) => locked.has(item.inboxId))]
  }
}

export function createOutcomes(db: MayPrepare, instanceId: string, log: Log): Outcomes {
  const done = new Queue<Claim>()
  const failed = new Queue<Failure>()
  const back = new Queue<Return>()
  let pending = 0
  let whenIdle: (() => void)[] = []
  /** Claims to be counted, by message. */
  const begun = new Map<string, Claim>()

  /** In this loop, since two statements that write the same messages at once could lock them in different orders. */
  async function count(): Promise<void> {
    const batch = [...begun.values()].slice(0, BATCH)
    if (batch.length === 0) return
    await countBegun(db, instanceId, batch).catch((error: unknown) => {
      // Somebody holds a message's row, which outcomes must not wait for again and again: theirs counts, too.
      if (!WAITED.has(errorClass(error))) throw error
    })
    for (const { inboxId } of batch) begun.delete(inboxId)
  }

  /** Writes the head of a queue; only what was written leaves it. */
  async function flush<T extends Claim>(
    queue: Queue<T>,
    write: (items: T[]) => Promise<(inboxId: string) => Settled>,
  ): Promise<void> {
    if (queue.restsForMs > 0) return
    await queue.bringBack(db)
    const batch = queue.head
    if (batch.length === 0) return
    let stateOf: (inboxId: string) => Settled
    try {
      stateOf = await write(batch.map((entry) => entry.item))
    } catch (error) {
      const kind = errorClass(error)
      if (AWAY.has(kind)) throw error
      if (REFUSED.has(kind)) {
        const refusals = queue.narrow(batch)
        if (refusals > 0) sayDeferred(error, refusals, LOCKED_LOOK_MS)
        return
      }
      if (WAITED.has(kind)) await queue.setAside(db, batch)
      sayDeferred(error, ...queue.rest())
      return
    }
    queue.wrote(batch.length)
    pending -= batch.length
    for (const { item } of batch) begun.delete(item.inboxId)
    const at = performance.now()
    for (const entry of batch) entry.settled(stateOf(entry.item.inboxId), at)
    if (pending === 0) {
      for (const resolve of whenIdle) resolve()
      whenIdle = []
    }
  }

  function sayDeferred(error: unknown, failures: number, nextTryMs: number): void {
    if (failures > 3 && failures % 20 !== 0) return
    const { class: className, text } = cleanError(error)
    const msg = `${pending} outcomes could not be written: ${text}; next try in ${nextTryMs} ms`
    log.event('outcome_deferred', msg, {
      messages: pending,
      class: className,
      text,
      next_try_ms: nextTryMs,
    })
  }

  const loop = startLoop({
    async body() {
      await flush(done, async (claims) => {
        const written = await writeDone(db, instanceId, claims)
        return (id) => (written.has(id) ? 'DONE' : 'not ours')
      })
      await flush(failed, async (failures) => {
        const written = await writeFailed(db, instanceId, failures)
        return (id) => written.get(id) ?? 'not ours'
      })
      await flush(back, async (claims) => {
        const written = await giveBack(db, instanceId, claims)
        return (id) => {
          const given = written.get(id)
          if (given === undefined) return 'not ours'
          if (!given.counted) return 'given back'
          return given.status === 'DEAD' ? 'DEAD' : 'counted'
        }
      })
      await count()
      if (pending === 0) return begun.size === 0 ? ASLEEP_MS : 0
      const waiting = [done, failed, back].filter(({ entries }) => entries.length > 0)
      return Math.min(LOCKED_LOOK_MS, ...waiting.map(({ restsForMs }) => restsForMs))
    },
    onError(error, failures) {
      const nextTryMs = Math.round(backoffMs(failures, RETRY))
      sayDeferred(error, failures, nextTryMs)
      return nextTryMs
    },
  })

  function queue<T extends Claim>({ entries }: Queue<T>, item: T, settled: Entry<T>['settled']): void {
    pending += 1
    entries.push({ item, settled })
    loop.wake()
  }

  return {
    done: (claim, settled) => queue(done, claim, settled),
    failed: (failure) => new Promise((settled) => queue(failed, failure, settled)),
    giveBack: (claim) => new Promise((settled) => queue(back, claim, settled)),
    begun(claims) {
      for (const claim of claims) begun.set(claim.inboxId, claim)
      if (begun.size > 0) loop.wake()
    },
    get pending() {
      return pending
    },
    idle(signal) {
      if (pending === 0 || signal.aborted) return Promise.resolve()
      return new Promise((resolve) => {
        whenIdle.push(resolve)
        signal.addEventListener('abort', () => resolve(), { once: true })
      })
    },
    stop: () => loop.stop(),
  }
}
