/**
 * The processor: claims what fits, runs handlers, hands their results to the outcome writer.
 *
 * States: *off* (not started, or a stand-by of an exclusive processor), *claiming*, *draining* (claims nothing, waits
 * for what is in work), *aborted* (what is in work is given back). A message in work here is in `inWork` from its claim
 * until its outcome is settled; the database owns the truth about whose it is.
 *
 * - *The database is away*: claims fail and are tried again with backoff; outcomes wait in the writer. Handlers that
 *   finished are not run again as long as their claims are ours.
 * - *A claim's answer is lost*: what it took is found again and given back (strays.ts).
 * - *A claim comes back when nothing may begin any more*: what it took is given back unrun. A drain waits for it.
 * - *A claim turns out to be somebody else's*: nothing is written, and it is said (`message_interrupted`).
 * - *The lease of an exclusive processor is lost*: handlers are aborted and given back at once. Their writes through
 *   `tx` are fenced by the claim; what they did outside cannot be, and nobody's can.
 * - *A new exclusive leader* claims nothing while another instance still has messages of its sources in work.
 */
import type { ResolvedProcessor } from '../config/resolved.ts'
import type { Pool } from '../db/pool.ts'
import { backoffMs } from '../kit/backoff.ts'
import { startLoop } from '../kit/loop.ts'
import type { Loop } from '../kit/loop.ts'
import { pause } from '../kit/pause.ts'
import { within } from '../kit/within.ts'
import { claimMessages, inWorkElsewhere } from '../tables/inbox.ts'
import type { ClaimedRow } from '../tables/inbox.ts'
import { cleanError } from '../telemetry/errorText.ts'
import type { Log } from '../telemetry/log.ts'
import { executeBatch, executeExternal, executeTransactional } from './execute.ts'
import type { ExecuteOptions, Result } from './execute.ts'
import { toInWork } from './inWork.ts'
import type { InWork } from './inWork.ts'
import { LowWater } from './lowWater.ts'
import { createOutcomes } from './outcomes.ts'
import { createSettlement } from './settle.ts'
import { createStrays } from './strays.ts'

/** The right to work alone, as leadership grants it. */
export interface ProcessorLease {
  readonly signal: AbortSignal
}

export interface ProcessorOptions {
  readonly pool: Pool
  readonly processor: ResolvedProcessor
  readonly instanceId: string
  readonly log: Log
}

export interface ProcessorState {
  readonly claiming: boolean
  readonly inWork: number
  readonly finished: number
  readonly givenBack: number
  /** Outcomes that wait for the database. */
  readonly pendingOutcomes: number
  /** When the newest claim, of anything or nothing, came back from the database, by the monotonic clock. */
  readonly lastClaimAt: number | undefined
}

export interface Processor {
  readonly name: string
  readonly sources: readonly string[]
  readonly exclusive: boolean
  readonly state: ProcessorState
  /** Begins to claim; not for an exclusive one, which claims under a lease. */
  start(): void
  /** Claims under a lease until it ends; resolves when nothing is in work here any more. */
  readonly lead: (lease: ProcessorLease) => Promise<void>
  /** There may be something to claim. */
  wake(): void
  /** Claims nothing from now on. What is in work goes on. */
  stopClaiming(): void
  /** Waits for what is in work, for `limitMs` at most, then aborts it and gives it back; outcomes are written. */
  drain(limitMs: number): Promise<void>
  /** Aborts what is in work and gives it back at once. */
  abort(): void
  /** Ends the loops, after a drain. */
  stop(): Promise<void>
}

/** Claims are bounded by bytes too: a few huge payloads must not fill the memory. */
const CLAIM_BYTES = 16 * 1024 * 1024

/** With nothing to do and nobody to say so: NOTIFY is only a hint, so look now and then all the same. */
const IDLE_MS = 2_000

const RETRY = { baseMs: 200, maxMs: 5_000 }

/** Outcomes that may wait before claiming pauses: they are memory, and claims that others could have. */
const MAX_PENDING_OUTCOMES = 10_000

const ELSEWHERE_MS = 500

export function createProcessor(options: ProcessorOptions): Processor {
  const { pool, processor, instanceId, log } = options
  const { name, from: sources, work, concurrency } = processor
  const outcomes = createOutcomes(pool, instanceId, log)
  const settle = createSettlement(processor, outcomes, log)
  const lowWater = new LowWater(pool, sources)
  const strays = createStrays(pool, instanceId, sources, log)
  const execution: ExecuteOptions = { pool, instanceId, task: name, timeoutMs: processor.timeoutMs, log }
  const inWork = new Set<InWork>()
  let stopping = new AbortController()
  let claiming = false
  let claimUnderWay = false
  let drained = false
  let calls = 0
  let lastClaimAt: number | undefined
  let whenQuiet: (() => void)[] = []

  const loop: Loop = startLoop({
    async body() {
      const low = await lowWater.low()
      await strays.look(inWork, lowWater.settled)
      if (!claiming || calls >= concurrency || outcomes.pending > MAX_PENDING_OUTCOMES) return IDLE_MS
      const limit = work.kind === 'batch' ? work.batchSize : concurrency - calls
      const rows = await claim(limit, low)
      const nextDueMs = lowWater.due(performance.now()) ? await lowWater.look() : undefined
      if (rows.length === limit) return 0
      return Math.min(IDLE_MS, nextDueMs ?? IDLE_MS)
    },
    onError(error, failures) {
      strays.doubt(error)
      const { class: errorClass, text } = cleanError(error)
      const waitMs = Math.round(backoffMs(failures, RETRY))
      if (failures === 1 || failures % 20 === 0) {
        const msg = `${name}: could not claim: ${text}; next try in ${waitMs} ms`
        log.event('loop_failed', msg, {
          loop: 'claim',
          task: name,
          class: errorClass,
          text,
          next_try_ms: waitMs,
        })
      }
      return waitMs
    },
  })

  async function claim(limit: number, low: string): Promise<readonly ClaimedRow[]> {
    claimUnderWay = true
    try {
      const { maxAttempts } = processor
      const request = { sources, instanceId, limit, low, maxAttempts, maxBytes: CLAIM_BYTES }
      const rows = await claimMessages(pool, request)
      lastClaimAt = performance.now()
      take(rows)
      return rows
    } finally {
      claimUnderWay = false
      sayWhenQuiet()
    }
  }

  function take(rows: readonly ClaimedRow[]): void {
    const taken = rows.map((row) => toInWork(row))
    for (const row of rows) if (row.fresh) lowWater.claimed(BigInt(row.inbox_id))
    for (const one of taken) {
      inWork.add(one)
      settle.picked(one)
    }
    if (taken.length === 0) return
    if (!claiming) {
      run(taken, async () => taken.map((): Result => ({ kind: 'interrupted', reason: 'stopped' })))
      return
    }
    if (work.kind === 'batch') {
      run(taken, () => executeBatch(execution, work.handle, taken, stopping.signal))
      return
    }
    for (const one of taken) {
      run([one], async () => [
        work.kind === 'transactional'
          ? await executeTransactional(execution, work.handle, one, stopping.signal)
          : await executeExternal(execution, work.handle, one, stopping.signal),
      ])
    }
  }

  /** One handler call. Its place is free when the handler has ended; its messages are in work until settled. */
  function run(messages: readonly InWork[], call: () => Promise<readonly Result[]>): void {
    calls += 1
    const startedAt = performance.now()
    void call()
      .catch((error: unknown): Result[] => messages.map(() => ({ kind: 'failed', error })))
      .then((results) => {
        calls -= 1
        if (claiming) loop.wake()
        const durationMs = performance.now() - startedAt
        return Promise.all(
          messages.map(async (one, i) => {
            const againMs = await settle.settle(one, results[i] ?? NO_RESULT, durationMs).catch(unsettled)
            inWork.delete(one)
            if (againMs !== undefined) loop.wakeIn(againMs)
          }),
        )
      })
      .then(sayWhenQuiet)
  }

  /** Should not happen. The claim is ours and no handler has it: the look for strays gives it back. */
  function unsettled(error: unknown): undefined {
    strays.doubt(error)
    const { class: errorClass, text } = cleanError(error)
    const msg = `${name}: an outcome could not be settled: ${text}`
    log.event('loop_failed', msg, { loop: 'settle', task: name, class: errorClass, text })
  }

  /** Nothing is in work, and no claim is on its way to bring some. */
  const isQuiet = (): boolean => inWork.size === 0 && !claimUnderWay

  function sayWhenQuiet(): void {
    if (!isQuiet()) return
    for (const resolve of whenQuiet) resolve()
    whenQuiet = []
  }

  function quiet(): Promise<void> {
    return isQuiet() ? Promise.resolve() : new Promise((resolve) => whenQuiet.push(resolve))
  }

  function abort(): void {
    claiming = false
    stopping.abort()
  }

  return {
    name,
    sources,
    exclusive: processor.exclusive,
    get state() {
      const { finished, givenBack } = settle
      return {
        claiming,
        inWork: inWork.size,
        finished,
        givenBack,
        pendingOutcomes: outcomes.pending,
        lastClaimAt,
      }
    },
    start() {
      claiming = true
      loop.wake()
    },
    async lead(lease) {
      stopping = new AbortController()
      while (!lease.signal.aborted && (await elsewhere())) await pause(ELSEWHERE_MS, lease.signal)
      if (!lease.signal.aborted && !drained) {
        claiming = true
        loop.wake()
        await new Promise<void>((resolve) =>
          lease.signal.addEventListener('abort', () => resolve(), { once: true }),
        )
      }
      // A drain has emptied it before it hands over. Otherwise the lease was lost: what runs must end now.
      claiming = false
      if (inWork.size > 0) stopping.abort()
      await quiet()
    },
    wake: () => loop.wake(),
    stopClaiming() {
      claiming = false
      drained = true
    },
    async drain(limitMs) {
      claiming = false
      drained = true
      await within(limitMs, quiet())
      if (inWork.size > 0) {
        stopping.abort()
        await within(GIVE_BACK_MS, quiet())
      }
    },
    abort,
    async stop() {
      claiming = false
      await loop.stop()
      await outcomes.stop()
    },
  }

  async function elsewhere(): Promise<boolean> {
    try {
      await lowWater.low()
      // From the proven mark: the next claim's is a hint, and may have passed what another instance has.
      return await inWorkElsewhere(pool, sources, instanceId, lowWater.settled)
    } catch {
      return true // the database is away: not known, so not yet
    }
  }
}

const NO_RESULT: Result = { kind: 'interrupted', reason: 'no result' }

/** After an abort: time for backends to end and for the give-back to be written. */
const GIVE_BACK_MS = 5_000
