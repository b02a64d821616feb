/**
 * What `/metrics` tells of the whole system, read from the database while somebody scrapes, and then seldom. Each instance that is scraped
 * reads for itself, so that any of them will do; whoever adds them up takes the greatest.
 */
import type { ResolvedConfig, ResolvedProcessor } from '../config/resolved.ts'
import type { Pool } from '../db/pool.ts'
import { createSeldom } from '../kit/seldom.ts'
import type { Seldom } from '../kit/seldom.ts'
import { readNumbers } from '../tables/metrics.ts'
import type { SystemNumbers } from '../tables/metrics.ts'
import { createInvariants } from './invariants.ts'
import type { Invariants } from './invariants.ts'

const NUMBERS_EVERY_MS = 5_000
/** Above the longest wait between two readings of a database that takes long for one: their age is told beside them. */
const NUMBERS_KEPT_MS = 90_000

/** Of group keys, in `slots_in_use`: each is a series, and there may be a hundred thousand tenants. */
const KEYS_NAMED = 20

/** What a message may be in work for besides twice the limit of its handler: time to notice, and to write what became of it. */
const STUCK_MARGIN_S = 60
/** For sources of which this instance's config does not say how long a handler may take. */
const OTHER_STUCK_S = 600

export interface NumberSources {
  readonly numbers: Seldom<SystemNumbers>
  readonly invariants: Invariants
}

export function createNumbers(options: {
  readonly config: Pick<ResolvedConfig, 'processors' | 'intakes'>
  /** The work pool: leases and heartbeats must not wait for somebody who looks. Throws when there is none. */
  readonly pool: () => Pool
  /** Ends what would hold up the end of the instance. */
  readonly signal: AbortSignal
}): NumberSources {
  const { config, pool, signal } = options
  const stuckAfterS = new Map(
    config.processors.flatMap((one) => one.from.map((source) => [source, stuckAfter(one)] as const)),
  )
  for (const { name } of config.intakes) if (!stuckAfterS.has(name)) stuckAfterS.set(name, OTHER_STUCK_S)
  let living = 1
  return {
    numbers: createSeldom({
      everyMs: () => NUMBERS_EVERY_MS,
      keepMs: () => NUMBERS_KEPT_MS,
      async ask() {
        const asked = { stuckAfterS, otherStuckAfterS: OTHER_STUCK_S, keys: KEYS_NAMED }
        const numbers = await readNumbers(pool(), asked)
        const ready = numbers.instances.filter(({ state }) => state === 'ready')
        living = Math.max(
          1,
          ready.reduce((sum, { instances }) => sum + instances, 0),
        )
        return numbers
      },
    }),
    invariants: createInvariants({ pool, living: () => living, signal }),
  }
}

function stuckAfter({ timeoutMs, work }: ResolvedProcessor): number {
  const limitMs = work.kind === 'deliver' ? Math.max(timeoutMs, work.timeoutMs) : timeoutMs
  return (2 * limitMs) / 1000 + STUCK_MARGIN_S
}
