import type { Identity } from '../config/identity.ts'
import type { Settings } from '../config/settings.ts'
import type { Pool } from '../db/pool.ts'
import type { Log } from '../telemetry/log.ts'

/** What an instance can be started with. */
export type Part = 'pollers' | 'processors' | 'jobs'

export interface RunnerOptions {
  /** Default: read from the environment. */
  readonly settings?: Settings
  /** Default: a fresh one. */
  readonly identity?: Identity
  /** Default: JSON lines to stderr, as the settings say. Whoever gives one closes it. */
  readonly log?: Log
  /** Only these parts. Default: all. */
  readonly only?: readonly Part[]
  /** A taken port means the next free one. Default: false. */
  readonly nextFreePort?: boolean
  /**
   * Called when the schema is ready and before any task starts, with the work pool: the demo makes its tables and starts
   * its traffic here. What it returns is called first of all when the runner stops.
   */
  readonly prepare?: (pool: Pool) => Promise<() => Promise<void>>
}
