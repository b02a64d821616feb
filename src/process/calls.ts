import type { ResolvedDelivery, ResolvedProcessor } from '../config/resolved.ts'
import { executeBatch, executeExternal, executeTransactional } from './execute.ts'
import type { ExecuteOptions, Result } from './execute.ts'
import type { InWork } from './inWork.ts'
import { Interrupted } from './interruption.ts'
import type { Interruption } from './interruption.ts'
import type { Quarantine } from './quarantine.ts'
import type { Settlement } from './settle.ts'

/** The handler calls of one processor, from a claim until the outcome of each message is settled. */
export interface Calls {
  /** Every message claimed and not settled. */
  readonly inWork: ReadonlySet<InWork>
  /** Calls whose handler has not ended: each takes a place. */
  readonly running: number
  /** Nothing is in work, and no claim is on its way to bring some. */
  quiet(): Promise<void>
  /** Something is under way that may bring messages into work; call the result when it has. */
  hold(): () => void
  /** Runs the handler: one call for all in a batch processor, else one call each. */
  begin(messages: readonly InWork[]): void
  /** Gives back what was claimed, unrun. */
  giveBack(messages: readonly InWork[], reason: Interruption): void
  /** Ends every call, or the calls that have one of these messages. */
  interrupt(reason: Interruption, only?: ReadonlySet<InWork>): void
}

/** What delivers is given its handler first (deliver/deliver.ts). */
export type RunnableWork = Exclude<ResolvedProcessor['work'], ResolvedDelivery>
export type RunnableProcessor = Omit<ResolvedProcessor, 'work'> & { readonly work: RunnableWork }

export interface CallsOptions {
  readonly work: RunnableWork
  readonly execution: ExecuteOptions
  readonly settle: Settlement
  readonly quarantine: Quarantine
  /** A place is free. */
  onFree(): void
  /** A message may be claimed again after so many milliseconds. */
  onAgain(ms: number): void
  /** Should not happen: a message's outcome could not be settled. Its claim is ours, and no handler has it. */
  onUnsettled(error: unknown): void
}

const NO_RESULT: Result = { kind: 'interrupted', reason: 'no result' }

export function createCalls(options: CallsOptions): Calls {
  const { work, execution, settle, quarantine } = options
  const inWork = new Set<InWork>()
  const stops = new Map<AbortController, readonly InWork[]>()
  let holds = 0
  let whenQuiet: (() => void)[] = []

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
  function run(messages: readonly InWork[], call: (stop: AbortSignal) => Promise<readonly Result[]>): void {
    const stop = new AbortController()
    const release = hold()
    for (const one of messages) inWork.add(one)
    stops.set(stop, messages)
    const startedAt = performance.now()
    void call(stop.signal)
      .catch((error: unknown): Result[] => messages.map(() => ({ kind: 'failed', error })))
      .then((results) => {
        stops.delete(stop)
        options.onFree()
        const durationMs = performance.now() - startedAt
        return Promise.all(
          messages.map(async (one, i) => {
            const settled = settle.settle(one, results[i] ?? NO_RESULT, durationMs)
            const againMs = await settled.catch((error: unknown) => options.onUnsettled(error))
            inWork.delete(one)
            if (one.slot !== undefined) options.onFree() // its slot is free only now
            if (typeof againMs === 'number') options.onAgain(againMs)
          }),
        )
      })
      .then(release)
  }

  return {
    inWork,
    get running() {
      return stops.size
    },
    quiet: () => (holds === 0 ? Promise.resolve() : new Promise((resolve) => whenQuiet.push(resolve))),
    hold,
    begin(messages) {
      if (work.kind === 'batch') {
        if (messages.length > 0) run(messages, (stop) => executeBatch(execution, work.handle, messages, stop))
        return
      }
      for (const one of messages) {
        run([one], async (stop) => [
          work.kind === 'transactional'
            ? await executeTransactional(execution, work.handle, one, stop)
            : await executeExternal(execution, work.handle, one, stop),
        ])
      }
    },
    giveBack(messages, reason) {
      if (messages.length === 0) return
      const results = messages.map((): Result => ({ kind: 'interrupted', reason }))
      run(messages, () => Promise.resolve(results))
    },
    interrupt(reason, only) {
      for (const [stop, messages] of stops) {
        if (only === undefined || messages.some((one) => only.has(one))) stop.abort(new Interrupted(reason))
      }
    },
  }
}
