import type { LeaderLook } from '../tables/leader.ts'

/** The right to act for one task, for one term. */
export interface Lease {
  readonly task: string
  readonly holder: string
  readonly term: string
  /** Pollers: the pass that the takeover opened. */
  readonly pass: string | null
  /** Pollers: the takeover had to make the watermark row, which begins at this edge. */
  readonly createdEdge: string | null
  /** Aborted when the lease was handed over, lost, or not renewed in time. */
  readonly signal: AbortSignal
  /** The database refused a write of ours: somebody else leads. */
  refused(what: string): void
}

export interface LedTask {
  readonly name: string
  /** Why this process must not lead it as it is registered now: a reset gave it another source, say. */
  readonly unfit?: (registered: Pick<LeaderLook, 'source_table' | 'source_columns'>) => string | undefined
  /** Works for as long as the lease's signal allows; resolves when nothing of it runs any more. */
  readonly lead: (lease: Lease) => Promise<void>
}

/** What this process is to a task. */
export type Role =
  | { readonly role: 'unknown' }
  | { readonly role: 'leader'; readonly term: string }
  | { readonly role: 'standby'; readonly leader: string | null }
