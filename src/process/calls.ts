import type { ResolvedDelivery, ResolvedProcessor } from '../config/resolved.ts'
import { inProcess } from '../telemetry/spans.ts'
import type { Ending } from '../telemetry/spans.ts'
import { knownTracer } from '../telemetry/tracer.ts'
import { Pace } from './ahead.ts'
import { executeBatch, executeExternal, executeTransactional } from './execute.ts'
import type { ExecuteOptions, Result } from './execute.ts'
import type { InWork } from './inWork.ts'
import { Interrupted } from './interruption.ts'
import type { Interruption } from './interruption.ts'
import type { Quarantine } from './quarantine.ts'
import type { Settlement, WaitsForOutcome } from './settle.ts'
import { Stop } from './stop.ts'

/** The handler calls of one processor, from a claim until the outcome of each message is settled. */
export interface Calls {
  /** Every message claimed and not settled. */
  readonly inWork: Iterable<InWork> & { readonly size: number }
  /** Calls whose handler has not ended: each takes a place. */
  readonly running: number
  /** Messages that are claimed and have no place yet. */
  readonly waiting: number
  /** How many messages to claim, as far as places and the pace of handlers go; `ahead`: not all of them can begin at once. */
  readonly wanted: { readonly messages: number; readonly ahead: boolean }
  /** Whether this very claim of the message is in work here. */
  has(one: InWork): boolean
  /** Nothing is in work, and no claim is on its way to bring some. */
  quiet(): Promise<void>
  /** Something is under way that may bring messages into work; call the result when it has. */
  hold(): () => void
  /** A claim has brought these. They are in work; whether they begin or are given back follows. */
  expect(messages: readonly InWork[]): void
  /** Runs the handler: one call for all in a batch processor, else one call each, when there is a place. */
  begin(messages: readonly InWork[]): void
  /** Gives back what was claimed, unrun. */
  giveBack(messages: readonly InWork[], reason: Interruption): void
  /** Gives back what waits for a place: all of it, or what has waited for so long. */
  giveBackWaiting(reason: Interruption, waitedMs?: number): void
  /** Ends every call, or the calls that have one of these messages. */
  interrupt(reason: Interruption, only?: ReadonlySet<InWork>): void
}

/** What delivers is given its handler first (deliver/deliver.ts). */
export type RunnableWork = Exclude<ResolvedProcessor['work'], ResolvedDelivery>
export type RunnableProcessor = Omit<ResolvedProcessor, 'work'> & { readonly work: RunnableWork }

export interface CallsOptions {
  readonly work: RunnableWork
  readonly concurrency: number
  /** Whether more may be claimed than there are places. */
  readonly mayClaimAhead: boolean
  readonly execution: ExecuteOptions
  readonly settle: Settlement
  readonly quarantine: Quarantine
  /** Why nothing may begin any more; undefined: it may. */
  closed(): Interruption | undefined
  /** A place is free, and little or nothing waits for it. */
  onFree(): void
  /** Handlers of these, which were claimed ahead, run on. */
  onLasting(messages: readonly InWork[]): void
  /** A message may be claimed again after so many milliseconds. */
  onAgain(ms: number): void
  /** Should not happen: a message's outcome could not be settled. Its claim is ours, and no handler has it. */
  onUnsettled(error: unknown): void
}

const NO_RESULT: Result = { kind: 'interrupted', reason: 'no result' }

/** A handler that has not ended after this lasts: a timer for it and a mark of its message are no longer what it costs most. */
const LASTS_MS = 5

interface Running {
  readonly messages: readonly InWork[]
  readonly stop: Stop
  ended: boolean
}

export function createCalls(options: CallsOptions): Calls {
  const { work, concurrency, execution, settle, quarantine } = options
  /** By message: the newest claim of each, which may begin before it is known here that the outcome of the last one is written. */
  const inWork = new Map<string, InWork>()
  const running = new Set<Running>()
  /** Claimed, and without a place yet: by message, in order. */
  const waiting = new Map<string, { readonly one: InWork; readonly release: () => void }>()
  const pace = new Pace()
  /** Expected, and neither begun nor given back yet. */
  const coming = new Set<InWork>()
  let ahead = 0
  let holds = 0
  let whenQuiet: (() => void)[] = []
  /** Calls that began since the newest look at which of them last. */
  let young: Running[] = []
  let lasting: NodeJS.Timeout | undefined

  function hold(): () => void {
    holds += 1
    const release = quarantine.hold()
    return () => {
      holds -= 1
      release()
      if (holds > 0) return
      for (const resolve of whenQuiet) resolve()
      whenQuiet = []
    }
  }

  /** One handler call. Its place is free when the handler has ended; its messages are in work until settled. */
  function run(
    messages: readonly InWork[],
    release: () => void,
    call: (stop: Stop) => Promise<readonly Result[]>,
  ): void {
    const one: Running = { messages, stop: new Stop(), ended: false }
    if (running.size === 0) pace.turned(true)
    running.add(one)
    watch(one)
    const startedAt = performance.now()
    void traced(messages, () => call(one.stop))
      .catch((error: unknown): Result[] => messages.map(() => ({ kind: 'failed', error })))
      .then((results) => {
        one.ended = true
        running.delete(one)
        pace.ended()
        next()
        if (running.size === 0) pace.turned(false)
        if (waiting.size <= ahead / 2) options.onFree()
        settleAll(messages, results, performance.now() - startedAt, release)
      })
  }

  /** In a span of its own, where somebody listens. */
  function traced(
    messages: readonly InWork[],
    call: () => Promise<readonly Result[]>,
  ): Promise<readonly Result[]> {
    if (knownTracer() === undefined) return call()
    const told = messages.map(({ message }) => message)
    return inProcess(execution.task, told, call, endingOf)
  }

  /** Messages are in work until their outcomes are written. */
  function settleAll(
    messages: readonly InWork[],
    results: readonly Result[],
    durationMs: number,
    release: () => void,
  ): void {
    let open = messages.length
    const waits: WaitsForOutcome = {
      settled(one, againMs) {
        if (inWork.get(one.claim.inboxId) === one) inWork.delete(one.claim.inboxId)
        if (one.slot !== undefined) options.onFree() // its slot is free only now
        if (againMs !== undefined) options.onAgain(againMs)
        open -= 1
        if (open === 0) release()
      },
      failed(one, error) {
        options.onUnsettled(error)
        waits.settled(one)
      },
    }
    for (const [i, one] of messages.entries()) settle.settle(one, results[i] ?? NO_RESULT, durationMs, waits)
  }

  /** A call that is still there after a moment has its limit from then on, and attempts that are not counted yet are. */
  function watch(one: Running): void {
    young.push(one)
    lasting ??= setTimeout(() => {
      lasting = undefined
      const left = young.filter(({ ended }) => !ended)
      young = []
      for (const { stop } of left) stop.lasts()
      options.onLasting(left.flatMap(({ messages }) => messages.filter((message) => message.ahead)))
    }, LASTS_MS)
  }

  function begin(one: InWork, release: () => void): void {
    run([one], release, async (stop) => {
      if (work.kind === 'transactional')
        return [await executeTransactional(execution, work.handle, one, stop)]
      if (work.kind === 'external') return [await executeExternal(execution, work.handle, one, stop)]
      return executeBatch(execution, work.handle, [one], stop)
    })
  }

  /** Fills the places that are free. */
  function next(): void {
    if (waiting.size === 0 || options.closed() !== undefined) return
    for (const [id, { one, release }] of waiting) {
      if (running.size >= concurrency) return
      waiting.delete(id)
      begin(one, release)
    }
  }

  function giveBack(messages: readonly InWork[], reason: Interruption): void {
    for (const one of messages) {
      coming.delete(one)
      const place = waiting.get(one.claim.inboxId)
      const waits = place?.one === one
      if (waits) waiting.delete(one.claim.inboxId)
      const release = waits ? place.release : hold()
      settleAll([one], [{ kind: 'interrupted', reason }], 0, release)
    }
  }

  return {
    inWork: {
      get size() {
        return inWork.size
      },
      [Symbol.iterator]: () => inWork.values(),
    },
    get running() {
      return running.size
    },
    get waiting() {
      return waiting.size
    },
    get wanted() {
      const free = concurrency - running.size
      if (work.kind === 'batch') {
        const expected = Math.ceil(coming.size / work.batchSize)
        return { messages: free > expected ? work.batchSize : 0, ahead: false }
      }
      ahead = options.mayClaimAhead ? pace.ahead(concurrency) : 0
      const placeless = waiting.size + coming.size
      if (placeless > ahead / 2 && placeless >= free) return { messages: 0, ahead: false }
      return { messages: free + ahead - placeless, ahead: ahead > 0 }
    },
    has: ({ claim }) => inWork.get(claim.inboxId)?.claim.claim === claim.claim,
    quiet: () => (holds === 0 ? Promise.resolve() : new Promise((resolve) => whenQuiet.push(resolve))),
    hold,
    expect(messages) {
      for (const one of messages) {
        inWork.set(one.claim.inboxId, one)
        coming.add(one)
      }
    },
    begin(messages) {
      for (const one of messages) coming.delete(one)
      if (work.kind !== 'batch') {
        for (const one of messages) waiting.set(one.claim.inboxId, { one, release: hold() })
        next()
      } else if (messages.length > 0)
        run(messages, hold(), (stop) => executeBatch(execution, work.handle, messages, stop))
    },
    giveBack,
    giveBackWaiting(reason, waitedMs = 0) {
      const since = performance.now() - waitedMs
      const left = Array.from(waiting.values(), ({ one }) => one).filter(
        ({ claimedAt }) => claimedAt <= since,
      )
      if (left.length > 0) pace.forget()
      giveBack(left, reason)
      next()
    },
    interrupt(reason, only) {
      const meant = (one: InWork): boolean => only === undefined || only.has(one)
      for (const { stop, messages } of running) if (messages.some(meant)) stop.abort(new Interrupted(reason))
      giveBack(Array.from(waiting.values(), ({ one }) => one).filter(meant), reason)
    },
  }
}

/** Of several messages, what became of the first that is not done. */
function endingOf(results: readonly Result[]): Ending {
  const isDone = ({ kind }: Result): boolean => kind === 'done' || kind === 'committed'
  const result = results.find((one) => !isDone(one)) ?? DONE
  if (result.kind === 'interrupted') return { outcome: result.kind, reason: result.reason }
  if (result.kind === 'failed' || result.kind === 'dead')
    return { outcome: result.kind, error: result.error ?? 'undefined was thrown' }
  return { outcome: isDone(result) ? 'done' : result.kind }
}

const DONE: Result = { kind: 'done' }
