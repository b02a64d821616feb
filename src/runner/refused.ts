/**
 * Refused pollers: those whose source could not be read at start are tried again until it can.
 *
 * States of one: *refused* (said with its reason, looked at every 30 s, or at once when somebody asks for a pass of it),
 * *running* (handed to the rest of the work, and of no concern here any more), *given up* (only a new config can mend it).
 * The catalogs of the database own the truth; the reason that was said last is only kept so as not to repeat it.
 *
 * - *The reason stays*: nothing is said. *It changes* (the table is there now, the right to it is not): said again.
 * - *The database is away*: nothing is known of the source, so nothing is said either; the pulse tells of the outage.
 */
import type { ResolvedPoller } from '../config/resolved.ts'
import type { Pool } from '../db/pool.ts'
import { startLoop } from '../kit/loop.ts'
import type { Log } from '../telemetry/log.ts'
import { enterPoller, isMendable, sayFindings, sayRefused, whyNotStarted } from './registration.ts'
import type { RefusedPoller, RegisteredPoller } from './registration.ts'

export interface RefusedOptions {
  readonly pool: Pool
  readonly refused: readonly RefusedPoller[]
  readonly release: string
  readonly log: Log
  /** Time between two looks, in milliseconds. Default: 30 s. */
  readonly everyMs?: number
  /** Its source can be read: from now on it is a poller like the others. */
  readonly onStarted: (poller: RegisteredPoller) => void
}

export interface Refused {
  /** Those that do not run, for `/health`. */
  readonly names: readonly string[]
  /** Somebody asks for a pass of this poller: look at once. */
  demand(poller: string): void
  stop(): Promise<void>
}

const EVERY_MS = 30_000

/** With nothing to look at. */
const ASLEEP_MS = 3_600_000

export function retryRefused(options: RefusedOptions): Refused {
  const { pool, release, log, onStarted, everyMs = EVERY_MS } = options
  const waiting = new Map<string, { poller: ResolvedPoller; reason: string; mendable: boolean }>()
  for (const { poller, reason, error } of options.refused)
    waiting.set(poller.name, { poller, reason, mendable: isMendable(error) })

  async function lookAt(name: string, poller: ResolvedPoller, said: string): Promise<void> {
    try {
      const { registered, checked } = await enterPoller(pool, poller, release)
      waiting.delete(name)
      log.event('task_started', `${name} started: its source can be read now`, { task: name })
      sayFindings(log, poller, checked)
      onStarted(registered)
    } catch (error) {
      const reason = whyNotStarted(error)
      if (reason === undefined) throw error
      waiting.set(name, { poller, reason, mendable: isMendable(error) })
      if (reason !== said) sayRefused(log, name, reason, error)
    }
  }

  let first = true
  const loop = startLoop({
    async body(signal) {
      // They were looked at a moment ago.
      if (!first) {
        for (const [name, { poller, reason, mendable }] of [...waiting])
          if (mendable && !signal.aborted) await lookAt(name, poller, reason)
      }
      first = false
      return [...waiting.values()].some(({ mendable }) => mendable) ? everyMs : ASLEEP_MS
    },
    onError: () => everyMs,
  })

  return {
    get names() {
      return [...waiting.keys()]
    },
    demand(poller) {
      if (waiting.has(poller)) loop.wake()
    },
    stop: () => loop.stop(),
  }
}
