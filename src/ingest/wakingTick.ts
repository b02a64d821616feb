/**
 * Passes that an insert asks for, beside those that fall due by the clock.
 *
 * Around any tick: what falls due there is handed on as it comes. In between, this is what the leader does:
 *
 *   awake ──a pass found nothing, or it was calm──▶ falling ──the flag is set──▶ last look ──▶ asleep
 *     ▲                                                                                          │
 *     └──────────────────────── notified: the flag is taken back, a look at once ────────────────┘
 *
 * The last look comes after the flag is set (sleeper.ts says why nothing is missed then), and whatever it finds, the poller
 * sleeps: what is written since is announced.
 *
 * *A single insert* after a calm time costs one look that takes it in, and the last look. *A flood* finds the poller awake:
 * writers are silent, it looks again and again, each time for what came meanwhile, and falls asleep after a look that found
 * nothing. So ten thousand inserts cause a handful of notifications.
 *
 * Looks are passes, and a pass reads everything from the edge on. While somebody's long transaction holds the edge that may
 * be much: then a look rests for nine times as long as it took, so that looks take a tenth of the time at most.
 *
 * - *A look fails*: the poller waits as after any failure, and looks again.
 * - *Notifications were not heard for a while* (LISTEN was down): `wake()` when they are heard again.
 * - *Inserts do not wake it* (the trigger is not there): after each pass by the clock it is asked whether they do now.
 * - *It is paused*: `rest()`. The flag is taken back, so writers are silent; the first pass that is made again sets it.
 * - *The lease ends*: the sleeper's session is closed, and the flag goes with it.
 */
import { pause } from '../kit/pause.ts'
import type { Sleeper } from './sleeper.ts'
import type { DuePass, Tick } from './tick.ts'

export interface WakingTickOptions {
  /** What keeps the time. */
  readonly inner: Tick
  readonly createSleeper: () => Sleeper
}

export interface WakingTick extends Tick {
  /** An insert was announced, or may have been: a look as soon as possible. Without a lead it does nothing. */
  wake(): void
  /** No flag and no looks until a pass by the clock is made again: what a paused poller does. */
  rest(): void
}

/** Between two looks of a poller that is awake: what comes meanwhile is taken in together. */
const GAP_MS = 25

/** Asleep for so long, it was calm: one insert more is no flood. */
const CALM_MS = 1_000

/** A look that takes no longer than this needs no rest. */
const SHORT_MS = 50
const REST_TIMES = 9

export function createWakingTick(options: WakingTickOptions): WakingTick {
  let lead: Lead | undefined
  return {
    async next(signal) {
      if (signal.aborted) return options.inner.next(signal)
      if (lead?.signal !== signal) {
        const begun = new Lead(options, signal)
        lead = begun
        signal.addEventListener(
          'abort',
          () => {
            begun.end()
            if (lead === begun) lead = undefined
          },
          { once: true },
        )
      }
      return lead.next()
    },
    wake: () => lead?.wake(),
    rest: () => lead?.rest(),
  }
}

class Lead {
  readonly signal: AbortSignal
  readonly #inner: Tick
  readonly #sleeper: Sleeper
  /** What the inner tick has been asked for and not handed on yet. */
  #pending: Promise<DuePass | undefined> | undefined
  #state: 'awake' | 'falling' | 'asleep' = 'awake'
  /** When the next look is to begin, by the monotonic clock. */
  #lookAt: number | undefined
  #sleptAt = Number.NEGATIVE_INFINITY
  /** Woken after a long sleep, and not looked yet. A lead begins so. */
  #calm = true
  #rested = performance.now()
  #resting = false
  /** Inserts wake it, as far as is known; only then it looks between what falls due by the clock. */
  #isOn = false
  #rouse = new AbortController()

  constructor({ inner, createSleeper }: WakingTickOptions, signal: AbortSignal) {
    this.#inner = inner
    this.#sleeper = createSleeper()
    this.signal = signal
  }

  async next(): Promise<DuePass | undefined> {
    this.#pending ??= this.#inner.next(this.signal)
    const pending = this.#pending.then((due) => ({ due }))
    for (;;) {
      this.#rouse = new AbortController()
      const waits = this.#lookAt === undefined ? undefined : this.#lookAt - performance.now()
      if (waits !== undefined && waits <= 0) return this.#look()
      const came = await Promise.race([pending, this.#sleep(waits)])
      // Its timer would outlive the wait.
      this.#rouse.abort()
      if (came === undefined) continue
      this.#pending = undefined
      return came.due === undefined ? undefined : this.#byClock(came.due)
    }
  }

  wake(): void {
    if (this.#resting) return
    const now = performance.now()
    const wasAsleep = this.#state === 'asleep'
    if (wasAsleep) this.#calm = now - this.#sleptAt >= CALM_MS
    this.#awake()
    const earliest = this.#rested + (wasAsleep ? 0 : GAP_MS)
    this.#lookAt = Math.min(this.#lookAt ?? Number.POSITIVE_INFINITY, Math.max(now, earliest))
    this.#rouse.abort()
  }

  rest(): void {
    this.#awake()
    this.#lookAt = undefined
    this.#resting = true
  }

  end(): void {
    this.#rouse.abort()
    void this.#sleeper.close()
  }

  #isAwake(): boolean {
    return this.#state === 'awake'
  }

  #awake(): void {
    this.#state = 'awake'
    this.#sleeper.wakeUp()
  }

  async #sleep(ms: number | undefined): Promise<undefined> {
    // Longer than any interval: what comes by the clock ends it.
    await pause(ms ?? 3_600_000, this.#rouse.signal)
    return undefined
  }

  #look(): DuePass {
    this.#lookAt = undefined
    const beganAt = performance.now()
    return {
      dueAt: new Date(),
      cause: 'wake',
      done: ({ ok, inserted = 0, held = false }) => {
        if (held) this.rest()
        else if (ok) this.#looked(beganAt, inserted)
        else this.#lookAt = performance.now()
        return Promise.resolve()
      },
    }
  }

  #byClock(due: DuePass): DuePass {
    const beganAt = performance.now()
    return {
      ...due,
      done: async (result) => {
        await due.done(result)
        if (result.held === true) {
          this.rest()
          return
        }
        this.#resting = false
        if (result.ok) this.#looked(beganAt, result.inserted ?? 0)
      },
    }
  }

  #looked(beganAt: number, inserted: number): void {
    if (this.signal.aborted) return
    const now = performance.now()
    this.#rested = now + REST_TIMES * Math.max(0, now - beganAt - SHORT_MS)
    if (this.#state === 'asleep') void this.#stayAsleep()
    if (this.#state !== 'awake' || this.#resting) return
    if (this.#lookAt !== undefined) this.#lookAt = Math.max(this.#lookAt, this.#rested)
    else if (inserted === 0 || this.#calm || !this.#isOn) void this.#fallAsleep()
    else this.#lookAt = this.#rested + GAP_MS
    this.#calm = false
  }

  async #fallAsleep(): Promise<void> {
    this.#state = 'falling'
    const asleep = await this.#sleeper.fallAsleep()
    // Woken meanwhile: somebody else saw to the next look.
    if (this.#isAwake()) return
    this.#state = asleep ? 'asleep' : 'awake'
    this.#isOn = asleep
    if (!asleep) return
    this.#sleptAt = performance.now()
    this.#lookAt = Math.max(this.#sleptAt, this.#rested)
    this.#rouse.abort()
  }

  async #stayAsleep(): Promise<void> {
    if (await this.#sleeper.isSound()) return
    if (this.#state === 'asleep') await this.#fallAsleep()
  }
}
