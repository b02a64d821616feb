/**
 * The processor: claims what fits (claims.ts), runs handlers, hands their results to the outcome writer.
 *
 * States: *off* (not started, or a stand-by of an exclusive processor), *claiming*, *draining* (claims nothing, waits
 * for what is in work), *aborted* (what is in work is given back). A message in work here is in `inWork` from its claim
 * until its outcome is settled; the database owns the truth about whose it is.
 *
 * - *The database is away*: claims fail and are tried again with backoff; outcomes wait in the writer. Handlers that
 *   finished are not run again as long as their claims are ours.
 * - *A claim's answer is lost*: what it took is found again and given back (strays.ts).
 * - *A claim comes back when nothing may begin any more* (a drain, a pause): what it took is given back unrun. A drain
 *   waits for it.
 * - *It is paused*: nothing is claimed; what has begun goes on to its end.
 * - *A claim turns out to be somebody else's*: nothing is written, and it is said (`message_interrupted`).
 * - *The lease of an exclusive processor is lost*: handlers are aborted and given back at once. Their writes through
 *   `tx` are fenced by the claim; what they did outside cannot be, and nobody's can.
 * - *We were taken for dead or frozen*: handlers whose message is somebody else's by now are aborted (ownership.ts).
 * - *A process died*: what it had in work is claimed again with nothing beside it (quarantine.ts).
 * - *Connections are short*: one message at a time is claimed, or none (db/pressure.ts).
 * - *A new exclusive leader* claims nothing while another instance still has messages of its sources in work.
 */
import type { Pool } from '../db/pool.ts'
import type { Pressure } from '../db/pressure.ts'
import { errorClass } from '../db/sqlstate.ts'
import { backoffMs } from '../kit/backoff.ts'
import { startLoop } from '../kit/loop.ts'
import type { Loop } from '../kit/loop.ts'
import { pause } from '../kit/pause.ts'
import { within } from '../kit/within.ts'
import { cleanError } from '../telemetry/errorText.ts'
import type { Log } from '../telemetry/log.ts'
import { SILENT_METER } from '../telemetry/metrics/meter.ts'
import type { Meter } from '../telemetry/metrics/meter.ts'
import { LONGEST_WAIT_MS } from './ahead.ts'
import { createCalls } from './calls.ts'
import type { RunnableProcessor } from './calls.ts'
import { createClaims, IDLE_MS } from './claims.ts'
import { Elsewhere } from './elsewhere.ts'
import type { ExecuteOptions } from './execute.ts'
import type { Interruption } from './interruption.ts'
import { LowWater } from './lowWater.ts'
import { createOutcomes } from './outcomes.ts'
import { Ownership } from './ownership.ts'
import type { Quarantine } from './quarantine.ts'
import { createSettlement } from './settle.ts'
import { createStrays } from './strays.ts'

/** The right to work alone, as leadership grants it. */
export interface ProcessorLease {
  readonly signal: AbortSignal
}

export interface ProcessorOptions {
  readonly pool: Pool
  readonly processor: RunnableProcessor
  readonly instanceId: string
  /** The wait between two looks while nothing is open, in milliseconds. Default: that of every look. */
  readonly quietMs?: () => number
  /** Sends jobs for handlers. */
  readonly send?: ExecuteOptions['send']
  /** Each is one for all processors of an instance. */
  readonly pressure: Pressure
  readonly quarantine: Quarantine
  /** An operator holds it: nothing may begin. Whoever changes that wakes it. Default: nobody does. */
  readonly paused?: () => boolean
  /** Milliseconds for which nothing is claimed, although it may be; whoever changes that wakes it. Default: undefined. */
  readonly halted?: () => number | undefined
  /** Messages to claim at once at most, as things are. Default: no limit but its own. */
  readonly room?: () => number
  readonly log: Log
  /** Default: nothing is counted. */
  readonly meter?: Meter
}

export interface ProcessorState {
  readonly claiming: boolean
  readonly inWork: number
  readonly finished: number
  readonly givenBack: number
  /** Outcomes that wait for the database. */
  readonly pendingOutcomes: number
  /** When the newest claim came back from the database, or was left out for a reason, by the monotonic clock. */
  readonly lastClaimAt: number | undefined
  /** Connections are short: it claims less. */
  readonly pressed: boolean
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
  /** Claims nothing more, aborts what is in work and gives it back at once. */
  abort(): void
  /** Ends the loops, after a drain. */
  stop(): Promise<void>
}

const RETRY = { baseMs: 200, maxMs: 5_000 }

/** Outcomes that may wait before claiming pauses: they are memory, and claims that others could have. */
const MAX_PENDING_OUTCOMES = 10_000

const ELSEWHERE_MS = 500

/** A claim with slots costs the database twice as much as one without: what gets free meanwhile is filled by one. */
const GATHER_MS = 2

const SHORTAGES: ReadonlySet<string> = new Set(['too_many_connections', 'pool_exhausted'])

export function createProcessor(options: ProcessorOptions): Processor {
  const { pool, processor, instanceId, pressure, quarantine, log, paused = () => false } = options
  const { name, from: sources, work, concurrency } = processor
  const outcomes = createOutcomes(pool, instanceId, log)
  const settle = createSettlement(processor, outcomes, log, options.meter ?? SILENT_METER)
  const lowWater = new LowWater(pool, sources)
  const strays = createStrays(pool, instanceId, sources, log)
  const ownership = new Ownership(pool)
  const elsewhere = new Elsewhere(pool, sources, instanceId, lowWater)
  const execution: ExecuteOptions = {
    pool,
    pressure,
    instanceId,
    task: name,
    timeoutMs: processor.timeoutMs,
    ...(options.send && { send: options.send }),
    log,
  }
  const gathers = processor.ordered || processor.slots !== null
  let claiming = false
  let drained = false
  const calls = createCalls({
    work,
    concurrency,
    // Where somebody says how many, more would not be that.
    mayClaimAhead: options.room === undefined,
    execution,
    settle,
    quarantine,
    closed,
    onFree: () => {
      if (!claiming) return
      if (gathers && calls.running > 0) loop.wakeIn(GATHER_MS)
      else loop.wake()
    },
    onLasting(messages) {
      // A transaction holds the row of its message, which counts when it commits: a mark would wait for that.
      if (work.kind !== 'transactional') outcomes.begun(messages.map(({ claim }) => claim))
    },
    onAgain: (ms) => loop.wakeIn(ms),
    onUnsettled(error) {
      strays.doubt(error) // the look for strays gives it back
      const { class: className, text } = cleanError(error)
      const msg = `${name}: an outcome could not be settled: ${text}`
      log.event('loop_failed', msg, { loop: 'settle', task: name, class: className, text })
    },
  })

  const claims = createClaims({
    pool,
    processor,
    instanceId,
    pressure,
    quarantine,
    calls,
    lowWater,
    ownership,
    halted: () => (paused() ? IDLE_MS : options.halted?.()),
    most: options.room ?? (() => Number.POSITIVE_INFINITY),
    quietMs: options.quietMs,
    onPicked: (message) => settle.picked(message),
    onError: (error) => strays.doubt(error),
    closed,
  })

  const loop: Loop = startLoop({
    async body() {
      await lowWater.low() // from here on it is known what is settled
      await strays.look(calls.inWork, lowWater.settled)
      const lost = await ownership.lost(calls.inWork)
      if (lost.size > 0) calls.interrupt('claimed elsewhere', lost)
      if (!claiming) quarantine.leave(name)
      const reason = closed()
      if (reason === undefined) calls.giveBackWaiting('no place was free', LONGEST_WAIT_MS)
      else calls.giveBackWaiting(reason)
      if (!claiming || outcomes.pending > MAX_PENDING_OUTCOMES) return IDLE_MS
      if (calls.wanted.messages === 0) return calls.waiting === 0 ? IDLE_MS : LONGEST_WAIT_MS
      return claims.next()
    },
    onError(error, failures) {
      strays.doubt(error)
      if (SHORTAGES.has(errorClass(error))) pressure.refused(error)
      const { class: className, text } = cleanError(error)
      const waitMs = Math.round(backoffMs(failures, RETRY))
      if (failures === 1 || failures % 20 === 0) {
        const msg = `${name}: could not claim: ${text}; next try in ${waitMs} ms`
        log.event('loop_failed', msg, {
          loop: 'claim',
          task: name,
          class: className,
          text,
          next_try_ms: waitMs,
        })
      }
      return waitMs
    },
  })

  quarantine.join(name, () => loop.wake())

  /** Why nothing may begin. */
  function closed(): Interruption | undefined {
    if (!claiming) return drained ? 'drain' : 'lease lost'
    return paused() ? 'paused' : undefined
  }

  function stopClaiming(): void {
    claiming = false
    drained = true
    calls.giveBackWaiting('drain')
    quarantine.leave(name)
  }

  return {
    name,
    sources,
    exclusive: processor.exclusive,
    get state() {
      const { finished, givenBack } = settle
      return {
        claiming,
        inWork: calls.inWork.size,
        finished,
        givenBack,
        pendingOutcomes: outcomes.pending,
        lastClaimAt: claims.lastAt,
        pressed: pressure.episode,
      }
    },
    start() {
      claiming = true
      loop.wake()
    },
    async lead(lease) {
      while (!lease.signal.aborted && (await elsewhere.someInWork())) await pause(ELSEWHERE_MS, lease.signal)
      if (!lease.signal.aborted && !drained) {
        claiming = true
        loop.wake()
        await new Promise<void>((resolve) =>
          lease.signal.addEventListener('abort', () => resolve(), { once: true }),
        )
      }
      // A drain has emptied it before it hands over. Otherwise the lease was lost: what runs must end now.
      claiming = false
      quarantine.leave(name)
      calls.interrupt('lease lost')
      await calls.quiet()
    },
    wake: () => loop.wake(),
    stopClaiming,
    async drain(limitMs) {
      stopClaiming()
      await within(limitMs, calls.quiet())
      if (calls.inWork.size > 0) {
        calls.interrupt('drain')
        await within(GIVE_BACK_MS, calls.quiet())
      }
    },
    abort() {
      stopClaiming()
      calls.interrupt('drain')
    },
    async stop() {
      claiming = false
      await loop.stop()
      await outcomes.stop()
    },
  }
}

/** After an abort: time for backends to end and for the give-back to be written. */
const GIVE_BACK_MS = 5_000
