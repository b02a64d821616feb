/**
 * One body, run again and again. The body does one look's work and *returns how long to wait* until the next look; the
 * loop alone sleeps, wakes and ends. (The form is Solid Queue's.)
 *
 * A wake-up that comes while the body runs is not lost: the next look follows at once. An error never ends the loop:
 * `onError` says how long to wait instead.
 */
export interface Loop {
  /** Look at once, or again at once when a look is under way. */
  wake(): void
  /** Look again after so many milliseconds at the latest. */
  wakeIn(ms: number): void
  /** Lets the look under way end (its signal is aborted) and starts no other. May be called again. */
  stop(): Promise<void>
}

export interface LoopOptions {
  /** One look. Resolves to the milliseconds until the next one. */
  body(signal: AbortSignal): Promise<number>
  /** The wait after a look that threw, in milliseconds. */
  onError(error: unknown, failuresInARow: number): number
}

/** Node keeps timers as 32-bit milliseconds; a longer wait would fire at once. */
const LONGEST_WAIT_MS = 2_147_483_647

export function startLoop(options: LoopOptions): Loop {
  const stopping = new AbortController()
  /** Asked through a function: the compiler does not see that `wake` runs during an await. */
  let woken = false
  const wasWoken = (): boolean => woken
  let rouse: () => void = () => undefined
  let failures = 0
  let alarm: { readonly at: number; readonly timer: NodeJS.Timeout } | undefined

  async function look(): Promise<number> {
    try {
      const wait = await options.body(stopping.signal)
      failures = 0
      return wait
    } catch (error) {
      if (stopping.signal.aborted) return 0
      failures += 1
      return options.onError(error, failures)
    }
  }

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      woken = false
      const wait = Math.min(Math.max(0, await look()), LONGEST_WAIT_MS)
      if (wasWoken() || wait === 0) {
        // A body that never waits must still let timers and signals have their turn.
        await new Promise((resolve) => setImmediate(resolve))
        continue
      }
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, wait)
        rouse = () => {
          clearTimeout(timer)
          resolve()
        }
        if (stopping.signal.aborted) rouse()
      })
    }
  }

  const running = run()
  function wake(): void {
    if (woken) return // many say so at once, and a sleep that is over cannot be ended again
    woken = true
    rouse()
  }

  return {
    wake,
    wakeIn(ms) {
      const at = performance.now() + ms
      if (alarm !== undefined && alarm.at <= at) return
      clearTimeout(alarm?.timer)
      const ring = (): void => {
        alarm = undefined
        wake()
      }
      alarm = { at, timer: setTimeout(ring, Math.min(Math.max(0, ms), LONGEST_WAIT_MS)).unref() }
    },
    stop() {
      stopping.abort()
      clearTimeout(alarm?.timer)
      rouse()
      return running
    },
  }
}
