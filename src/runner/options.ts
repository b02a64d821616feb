import { createIdentity } from '../config/identity.ts'
import type { Identity } from '../config/identity.ts'
import type { ResolvedConfig, ResolvedJob } from '../config/resolved.ts'
import { readSettings } from '../config/settings.ts'
import type { Settings } from '../config/settings.ts'
import type { TidemarkConfig } from '../config/types.ts'
import { resolveConfig } from '../config/validate.ts'
import type { Pool } from '../db/pool.ts'
import { createLog } from '../telemetry/log.ts'
import type { Log } from '../telemetry/log.ts'
import { createCounting } from './counting.ts'
import type { Counting } from './counting.ts'

/** What an instance can be started with. */
export type Part = 'intake' | 'pollers' | 'processors' | 'jobs'

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

/** Everything that is decided before anything starts. */
export interface SetUp {
  readonly settings: Settings
  readonly parts: readonly Part[]
  /** What of the user's config belongs to these parts. */
  readonly config: ResolvedConfig
  /** Every job of the user's config: any part may send one. */
  readonly allJobs: readonly ResolvedJob[]
  readonly identity: Identity
  /** Counts what it is told, besides. */
  readonly log: Log
  readonly counting: Counting
}

const ALL_PARTS: readonly Part[] = ['intake', 'pollers', 'processors', 'jobs']

/** Reads settings and config. Throws ConfigInvalid or SettingsInvalid, with every fault at once. */
export function setUp(userConfig: TidemarkConfig, options: RunnerOptions): SetUp {
  const settings =
    options.settings ?? readSettings(process.env, { pollers: Object.keys(userConfig.pollers ?? {}) })
  const parts = options.only ?? ALL_PARTS
  const whole = resolveConfig(userConfig, { intervals: settings.pollerIntervals })
  const config = {
    ...whole,
    intakes: parts.includes('intake') ? whole.intakes : [],
    pollers: parts.includes('pollers') ? whole.pollers : [],
    processors: parts.includes('processors') ? whole.processors : [],
    jobs: parts.includes('jobs') ? whole.jobs : [],
  }
  const identity = options.identity ?? createIdentity(settings)
  const plainLog =
    options.log ??
    createLog({
      service: settings.serviceName,
      instanceId: identity.instanceId,
      level: settings.logLevel,
      format: settings.logFormat,
      redact: config.log.redact,
    })
  const { log, counting } = createCounting(config, plainLog)
  return { settings, parts, config, allJobs: whole.jobs, identity, log, counting }
}
