import type { Queryable } from '../db/pool.ts'
import type { StatusDocument } from '../tables/status.ts'

/** A range of a source, as times with their zone, and what it has that the inbox has not. */
export interface RangeLook {
  readonly looked: number
  /** Never taken in, and no pass will. */
  readonly missing: number
  readonly firstMissing: readonly string[]
  /** From the edge on: the next pass takes them in. */
  readonly waiting: number
  readonly firstWaiting: readonly string[]
  /** Older than what retention has forgotten: nobody can know whether they were processed. */
  readonly forgotten: number
  readonly firstForgotten: readonly string[]
  readonly forgottenBefore: string | null
}

/** What a replay is for. */
export interface ReplayRequest {
  readonly poller: string
  /** With its zone; the first that is meant, and the first that is not. */
  readonly from: string
  readonly to: string
  readonly includeForgotten: boolean
}

/** What the dashboard may ask of the rest of the process; given by the runner. */
export interface DashboardPort {
  /** The document of `/status`, read at most once a second for all. */
  status(): Promise<StatusDocument>
  /** For people who look: on the connections for work. Throws while there is none. */
  database(): Queryable
  /** Aborted when this instance begins to drain: nobody is kept waiting for news of it. */
  readonly ending: AbortSignal
  /** Pollers that this instance has in its config, and so can replay. */
  pollers(): readonly string[]
  /**
   * Looks at a range and changes nothing.
   * @throws PollerUnknown, SourceChanged, SourceInvalid, PermissionMissing; RangeTooLarge when it takes too long
   */
  lookAtRange(request: ReplayRequest): Promise<RangeLook>
  /**
   * Takes a range in, in the background of this instance, until it is done or the instance drains; the action on record
   * is told how it ended. Resolves to its number as soon as it has begun.
   * @throws PollerUnknown, SourceChanged, SourceInvalid, PermissionMissing
   */
  replay(request: ReplayRequest, who: string): Promise<string>
}
