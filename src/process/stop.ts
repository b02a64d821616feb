import { HandlerTimeout } from '../errors.ts'
import { startLimit } from '../kit/limit.ts'
import type { Interrupted } from './interruption.ts'

/** One handler call as its context sees it. */
export interface HandlerCall {
  /** Aborts when the time is up or the call must end. Made when it is asked for. */
  readonly signal: AbortSignal
}

/**
 * How what runs for some messages is told to end. Most handlers end by themselves, in less time than a timer and two signals
 * take to make: so nothing is made before somebody asks for it, or the call has turned out to take its time.
 */
export class Stop {
  #reason: Interrupted | undefined
  #call: Call | undefined

  /** Ends the call under way, and every later one before it begins. */
  abort(reason: Interrupted): void {
    this.#reason ??= reason
    this.#call?.end(this.#reason)
  }

  /** The call takes its time: where its limit was to wait for that, it counts from here. */
  lasts(): void {
    this.#call?.limit()
  }

  /**
   * Runs `work` until it ends, its time is up, or it is aborted. Calls follow one another.
   * @param limit when the time begins to count: at once, or when it is said that it `lasts`, some milliseconds later
   */
  within<T>(
    timeoutMs: number,
    work: (call: HandlerCall) => T | PromiseLike<T>,
    limit: 'at once' | 'when it lasts' = 'at once',
  ): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#reason !== undefined) throw this.#reason
      const call = new Call(timeoutMs, reject)
      this.#call = call
      if (limit === 'at once') call.limit()
      const ended = Promise.resolve(work(call))
      ended.then(
        (value) => {
          call.over()
          resolve(value)
        },
        (error: unknown) => {
          call.over()
          // As it was thrown, whatever it is.
          // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors
          reject(error)
        },
      )
    })
  }
}

class Call implements HandlerCall {
  readonly #timeoutMs: number
  readonly #reject: (reason: Error) => void
  #controller: AbortController | undefined
  #endLimit: (() => void) | undefined
  #reason: Error | undefined
  #over = false

  constructor(timeoutMs: number, reject: (reason: Error) => void) {
    this.#timeoutMs = timeoutMs
    this.#reject = reject
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController()
    if (this.#reason !== undefined) this.#controller.abort(this.#reason)
    return this.#controller.signal
  }

  limit(): void {
    if (this.#over || this.#reason !== undefined) return
    this.#endLimit ??= startLimit(this.#timeoutMs, () => this.end(new HandlerTimeout(this.#timeoutMs)))
  }

  /** What it comes to no longer matters: the reason does. */
  end(reason: Error): void {
    if (this.#over || this.#reason !== undefined) return
    this.#reason = reason
    this.#endLimit?.() // work that does not listen may never end, and its timer would keep the process from ending
    this.#controller?.abort(reason)
    this.#reject(reason)
  }

  over(): void {
    this.#over = true
    this.#endLimit?.()
  }
}
