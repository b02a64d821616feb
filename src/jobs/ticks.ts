import { pause } from '../kit/pause.ts'

/** What wakes a leader for its next pass. Given to the poller by the runner. */
export interface Tick {
  /** Waits until a pass is due or the signal aborts (then undefined). The signal is the leadership's. */
  next(signal: AbortSignal): Promise<DuePass | undefined>
  /** A pass as soon as possible, after the one under way; without leadership it does nothing. */
  demand(): void
}

/** One pass that is due. */
export interface DuePass {
  /** On this process's clock, whatever the database's says: `Date.now() - dueAt` is how late it is. */
  readonly dueAt: Date
  readonly cause: TickCause
  /** Due times after this one that had gone by when the pass began; it makes up for them. */
  readonly missed?: number
  /** Due times that have gone by since it began: they are one with it. */
  coalesced?(): number
  /** Records the end and sees to the next one; never throws. */
  done(result: { ok: boolean }): Promise<void>
}

/**
 * How a pass came: its pg-boss job (`job`), the leader's own making because the job did not come (`backstop`),
 * somebody's wish (`demand`), or the leader's loop (`loop`, for intervals under 10 s).
 */
export type TickCause = 'job' | 'backstop' | 'demand' | 'loop'

/** From this interval on, due passes are pg-boss jobs: pg-boss looks every 0.5 s at best. */
export const JOB_TICK_FROM_MS = 10_000

/**
 * Ticks that only the leader's loop keeps. A new leader's first pass is due at once; later ones keep their rhythm
 * (the due time before + interval), and start it anew when a pass took longer than that.
 */
export function createLoopTick(options: { readonly everyMs: number; readonly now?: () => number }): Tick {
  // Monotonic: a clock that steps back must not stop the passes until it has caught up.
  const { everyMs, now = () => performance.now() } = options
  let leading = false
  let dueAt = 0
  let demanded = false
  let rouse = new AbortController()
  const ended = (): void => {
    leading = false
    demanded = false
  }
  const isLeading = (): boolean => leading

  return {
    async next(signal) {
      if (signal.aborted) return undefined
      if (!leading) {
        leading = true
        dueAt = now()
        signal.addEventListener('abort', ended, { once: true })
      }
      while (!demanded && now() < dueAt) {
        rouse = new AbortController()
        await pause(dueAt - now(), AbortSignal.any([signal, rouse.signal]))
        // The abort has set `leading` back.
        if (!isLeading()) return undefined
      }
      const cause = demanded ? 'demand' : 'loop'
      const due = demanded ? Math.min(dueAt, now()) : dueAt
      demanded = false
      return {
        dueAt: new Date(Date.now() - (now() - due)),
        cause,
        done: () => {
          dueAt = due + everyMs > now() ? due + everyMs : now() + everyMs
          return Promise.resolve()
        },
      }
    },
    demand() {
      if (!leading) return
      demanded = true
      rouse.abort()
    },
  }
}
