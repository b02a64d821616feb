import type { CleanUp, SendOptions } from '../config/types.ts'
import type { Queryable } from '../db/pool.ts'
import type { RedriveOptions } from '../jobs/deadJobs.ts'

/** A client in a transaction of the caller's. */
export type Transaction = Queryable

export interface Runner {
  /** Resolves when the instance is ready, or was stopped while its parts started; rejects when it cannot start. */
  start(): Promise<void>
  /** Drains and stops. `reason` is said in the log. */
  stop(reason?: string): Promise<void>
  /** Gives what is in work back at once and stops. */
  abort(): Promise<void>
  /** The document of `tidemark status --json`. */
  status(): Promise<unknown>
  /**
   * Sends a job of the config. With `tx`, a client in a transaction of yours, it exists if and only if that commits.
   * Resolves to its id, or to null when one with its singleton key is there already.
   * @throws JobUnknown, JobInvalid, JobTooLarge; NotRunning before start() and after stop()
   */
  send(
    job: string,
    data?: unknown,
    options?: SendOptions & { readonly tx?: Transaction },
  ): Promise<string | null>
  /** Sends jobs again that have failed for good; returns how many. @throws JobUnknown, NotRunning */
  redrive(options?: RedriveOptions): Promise<number>
  /** Registers a clean-up: run at the end of a drain, before those that were registered earlier, within 5 s. */
  onShutdown(cleanUp: CleanUp): void
  /** Where HTTP listens, once it does. */
  readonly address: string | undefined
}
