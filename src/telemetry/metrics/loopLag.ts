import { monitorEventLoopDelay } from 'node:perf_hooks'

/** How often the loop is looked at: what blocks it for longer cannot hide between two looks. Costs no JavaScript. */
const RESOLUTION_MS = 20

/** Nobody has asked for so long: nobody will, and the process may sleep undisturbed. */
const FORGOTTEN_MS = 300_000

/** How late the event loop is, watched from when somebody asks first. */
export interface LoopLag {
  /** The longest since the last call, in seconds; undefined at the first. */
  take(): number | undefined
  stop(): void
}

export function createLoopLag(): LoopLag {
  let delays: ReturnType<typeof monitorEventLoopDelay> | undefined
  let forgotten: NodeJS.Timeout | undefined

  function stop(): void {
    clearTimeout(forgotten)
    delays?.disable()
    delays = undefined
  }

  return {
    take() {
      clearTimeout(forgotten)
      forgotten = setTimeout(stop, FORGOTTEN_MS).unref()
      if (delays === undefined) {
        delays = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
        delays.enable()
        return undefined
      }
      // In nanoseconds, from one look to the next.
      const seconds = Math.max(0, delays.max / 1e9 - RESOLUTION_MS / 1000)
      delays.reset()
      return seconds
    },
    stop,
  }
}
