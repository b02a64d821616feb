import type { ResolvedConfig } from '../config/resolved.ts'
import type { Settings } from '../config/settings.ts'
import type { TidemarkConfig } from '../config/types.ts'
import type { Pooling } from '../db/pooler.ts'
import type { Queryable } from '../db/pool.ts'
import type { FlyApp } from './fly/flyToml.ts'

/**
 * `fault`: something does not work, or a promise does not hold. `warning`: it works until something else happens. `note`:
 * worth knowing, no mistake. `unseen`: a part that could not be looked at, so that nothing is known of it.
 */
export type Severity = 'fault' | 'warning' | 'note' | 'unseen'

export interface Finding {
  readonly severity: Severity
  /** What was seen, by its names, and what comes of it. */
  readonly seen: string
  /** What mends it, in one line: a command or SQL wherever there is one. */
  readonly remedy: string
}

/** One thing that is looked at. */
export interface Check {
  readonly name: string
  /** What holds when it finds nothing. */
  readonly title: string
  /** Looks, and changes nothing. @throws CannotRun, or the database's error: then nothing is known. */
  run(context: DoctorContext): Promise<Finding[]>
}

/** What a check may look at. Each function throws {@link CannotRun} where there is no such thing. */
export interface DoctorContext {
  readonly settings: Settings
  readonly limits: Limits
  /** The tasks with every default filled in. */
  config(): ResolvedConfig
  /** The tasks as they were written, which tells what was said from what is a default. */
  written(): TidemarkConfig
  /** A read-only transaction of this check alone; a statement of it that fails leaves the others as they were. */
  database(): Queryable
  /** What stands before the database at DATABASE_URL, and at the address for sessions. */
  ways(): Promise<Ways>
  fly(): FlyApp
  /** This host's clock, in milliseconds since 1970. */
  now(): number
}

/** One address, looked at. */
export interface Way {
  readonly pooling: Pooling
  /** Limits that neither the role nor we can set here; none without a pooler. */
  readonly missing: readonly string[]
  /** Which database it leads to. */
  readonly database: string
}

export interface Ways {
  readonly work: Way
  readonly session: Way
  /** DIRECT_DATABASE_URL is set. */
  readonly apart: boolean
}

/** From where on something is worth a word. */
export interface Limits {
  /** Age of a transaction that holds the edge. */
  readonly oldTransactionMs: number
  /** A table that is smaller is read whole in less time than a page takes. */
  readonly smallTableBytes: number
  /** Difference between this host's clock and the database's. */
  readonly clockMs: number
  /** Dead rows of a table that autovacuum has left, on top of a fifth of the living. */
  readonly deadRows: number
  /** Age of the oldest transaction number in the database. */
  readonly oldXids: number
  /** How long a task is paused before somebody is asked whether that is meant. */
  readonly pausedMs: number
  /** How long a message may be due, or with an instance that is gone, before it counts as stuck. */
  readonly stuckMs: number
}

export const LIMITS: Limits = {
  oldTransactionMs: 60_000,
  // 1,024 blocks: about 3 ms from memory, as a page of 500 rows.
  smallTableBytes: 8 * 2 ** 20,
  clockMs: 1_000,
  deadRows: 10_000,
  // Autovacuum begins to freeze at 200 million and the server stops at 2 billion: at 500 it has not been able to for long.
  oldXids: 500_000_000,
  pausedMs: 86_400_000,
  stuckMs: 600_000,
}

/** A check could not look: what it needs is not there, or may not be seen. That is no pass. */
export class CannotRun extends Error {
  override readonly name = 'CannotRun'
  readonly remedy: string
  /** What it needs does not exist for this app (no fly.toml): no reason for alarm. */
  readonly isOptional: boolean
  constructor(why: string, remedy: string, options: { isOptional?: boolean; cause?: unknown } = {}) {
    super(why, options.cause === undefined ? undefined : { cause: options.cause })
    this.remedy = remedy
    this.isOptional = options.isOptional ?? false
  }
}

export function fault(seen: string, remedy: string): Finding {
  return { severity: 'fault', seen, remedy }
}

export function warning(seen: string, remedy: string): Finding {
  return { severity: 'warning', seen, remedy }
}

export function note(seen: string, remedy: string): Finding {
  return { severity: 'note', seen, remedy }
}

export function unseen(seen: string, remedy: string): Finding {
  return { severity: 'unseen', seen, remedy }
}
