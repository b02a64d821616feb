/** A poller's tick, which inserts wake where somebody asked for it. */
import type { SessionAddress } from '../db/connection.ts'
import type { Queryable } from '../db/pool.ts'
import { createSleeper } from '../ingest/sleeper.ts'
import { createWakingTick } from '../ingest/wakingTick.ts'
import type { WakingTick } from '../ingest/wakingTick.ts'
import type { Tick } from '../jobs/ticks.ts'

/** The channel of the insert trigger; the payload is the poller. */
export const WAKE_CHANNEL = 'tidemark_wake'

export interface WakefulOptions {
  readonly poller: string
  readonly tick: Tick & { close?(): Promise<void> }
  /** Not the work pool: whether a poller sleeps must not wait for handlers. */
  readonly db: Queryable
  /** Without one nobody hears of inserts, and it keeps to the clock. */
  readonly session: SessionAddress | undefined
  readonly applicationName: string
  readonly connectTimeoutMs: number
}

export type WakefulTick = WakingTick & Pick<Tick, 'demand'> & { close(): Promise<void> }

export function wakeful({ poller, tick, session, ...options }: WakefulOptions): WakefulTick {
  const waking =
    session === undefined
      ? { next: (signal: AbortSignal) => tick.next(signal), wake: () => undefined, rest: () => undefined }
      : createWakingTick({
          inner: tick,
          createSleeper: () => createSleeper({ ...options, session, poller }),
        })
  return {
    ...waking,
    demand: () => tick.demand(),
    close: async () => tick.close?.(),
  }
}
