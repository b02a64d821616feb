/**
 * What this process has counted since it started, by source: plain numbers in memory, which only grow. The history takes the
 * difference of two looks at them (runner/history.ts); whoever else wants totals reads the same numbers.
 *
 * A message that is done costs two steps through a short list and five additions, some 40 ns. Nothing is kept per message.
 */

/** What is counted of each source. */
export const COUNTS = ['ingested', 'done', 'failed', 'dead', 'interrupted'] as const
export type Count = (typeof COUNTS)[number]

/**
 * Upper bounds of the buckets of a message's latency, in seconds: from its source row, or from its intake, to its outcome. From
 * what an insert that wakes the poller takes to what nobody should ever see.
 */
export const LATENCY_BOUNDS_S: readonly number[] = [
  0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800,
]

/** Upper bounds of the buckets of the time that a handler took, in seconds. Its limit is a minute, unless the config says more. */
export const HANDLER_BOUNDS_S: readonly number[] = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
]

/** How often a value fell between two bounds. */
export class Buckets {
  /** Upper bounds, in seconds, rising. */
  readonly boundsS: readonly number[]
  /** One for each bound, and one for what is above them all. Each value is in one of them alone. */
  readonly counts: Float64Array
  /** Of all values, in seconds. */
  sumS = 0

  constructor(boundsS: readonly number[]) {
    this.boundsS = boundsS
    this.counts = new Float64Array(boundsS.length + 1)
  }

  add(seconds: number): void {
    let bucket = 0
    for (const bound of this.boundsS) {
      if (seconds <= bound) break
      bucket += 1
    }
    this.counts[bucket] = (this.counts[bucket] ?? 0) + 1
    this.sumS += seconds
  }
}

/** What was counted of one source. */
export class SourceTally implements Record<Count, number> {
  /** Rows or messages put into the inbox. */
  ingested = 0
  /** Messages whose handler has ended well. */
  done = 0
  /** Attempts that failed, the last one of a dead message included. */
  failed = 0
  /** Messages given up, whatever their last attempt ended by. */
  dead = 0
  /** Claims given back through no fault of the message. */
  interrupted = 0
  readonly latency = new Buckets(LATENCY_BOUNDS_S)
  readonly handler = new Buckets(HANDLER_BOUNDS_S)

  /** A message is done: its age at this moment, and how long its handler took, in milliseconds. */
  finish(ageMs: number, handlerMs: number): void {
    this.done += 1
    this.latency.add(ageMs / 1000)
    this.handler.add(handlerMs / 1000)
  }

  /** A handler threw, or ran past its limit. `dead`: there is no attempt after this one. */
  fail(handlerMs: number, dead: boolean): void {
    this.handler.add(handlerMs / 1000)
    this.failed += 1
    if (dead) this.dead += 1
  }

  /** A claim was given back. `dead`: it was one too many, and counts as an attempt that failed. */
  interrupt(dead: boolean): void {
    this.interrupted += 1
    if (dead) this.lose()
  }

  /** A message is dead without a handler's word: its process died with it, or it was interrupted too often. */
  lose(): void {
    this.failed += 1
    this.dead += 1
  }
}

/** The tally of one process. */
export class Tally {
  readonly #sources = new Map<string, SourceTally>()

  /** What was counted of a source, from now on too. */
  of(source: string): SourceTally {
    const known = this.#sources.get(source)
    if (known !== undefined) return known
    const made = new SourceTally()
    this.#sources.set(source, made)
    return made
  }

  /** Every source of which something was counted. */
  get sources(): ReadonlyMap<string, SourceTally> {
    return this.#sources
  }
}
