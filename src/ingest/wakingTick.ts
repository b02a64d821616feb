/**
 * Passes that an insert asks for, beside those that fall due by the clock.
 *
 * Around any tick: what falls due there is handed on as it comes. In between, this is what the leader does:
 *
 *   awake ──a pass found nothing, or it was calm──▶ falling ──the flag is set──▶ last pass ──▶ asleep ◀──┐
 *     ▲                                                                                          │      │
 *     └───── notified again within a moment: the flag is taken back, the tail is read ───────────┤      │
 *                                     notified after a calm: the tail is read, the flag stays ────└──────┘
 *
 * The last pass comes after the flag is set (sleeper.ts says why nothing is missed then), and whatever it finds, the poller
 * sleeps: what is written since is announced. A notification makes it read the tail of the source at once (tail.ts), and that
 * proves nothing and may not see all: so a pass follows each, a moment later, when the handler of what was found has begun.
 * Where nothing was found, it follows at once.
 *
 * *A single insert* after a calm costs a tail and a pass. The flag stays set, so what comes next is announced as well. *A flood*
 * makes the poller take it back: writers are silent, it looks again and again, each time for what came meanwhile, and falls
 * asleep after a pass that found nothing. So ten thousand inserts cause a handful of notifications.
 *
 * A pass reads everything from the edge on. While somebody's long transaction holds the edge that may be much: then passes
 * rest for nine times as long as one took, so that they take a tenth of the time at most, and tails are read in between.
 *
 * - *A pass fails*: the poller waits as after any failure, and makes it again.
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

/**
 * Between two looks of a poller that is awake: what comes meanwhile is taken in together. And from a tail to its pass, so that
 * handlers that are waited for need not share the machine with it.
 */
const GAP_MS = 25

/**
 * No insert was announced for so long: one more is no flood. Ten notifications a second, in as many commits, are nothing to
 * the writers of a database, and nothing to be silent for.
 */
const CALM_MS = 100

/** A pass that takes no longer than this needs no rest. */
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
  /** When the next tail, and the next pass, are to begin, by the monotonic clock. */
  #tailAt: number | undefined
  #passAt: number | undefined
  /** When it fell asleep, or was told of an insert last. */
  #toldAt = Number.NEGATIVE_INFINITY
  /** The first pass of a lead: what it finds is no flood. */
  #isFirst = true
  #lookedAt = Number.NEGATIVE_INFINITY
  #rested = Number.NEGATIVE_INFINITY
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
      const now = performance.now()
      if (this.#tailAt !== undefined && this.#tailAt <= now) return this.#tail()
      if (this.#passAt !== undefined && this.#passAt <= now) return this.#pass()
      const waits = soonest(this.#tailAt, this.#passAt)
      const came = await Promise.race([pending, this.#sleep(waits === undefined ? undefined : waits - now)])
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
    const isCalm = this.#state === 'asleep' && now - this.#toldAt >= CALM_MS
    const wasAsleep = this.#state === 'asleep'
    this.#toldAt = now
    if (!isCalm) this.#awake()
    this.#tailAt = soonest(this.#tailAt, wasAsleep ? now : Math.max(now, this.#lookedAt + GAP_MS))
    this.#rouse.abort()
  }

  rest(): void {
    this.#awake()
    this.#tailAt = undefined
    this.#passAt = undefined
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

  /** One has begun with each call: what is asked for from now on gets another. */
  #tail(): DuePass {
    this.#tailAt = undefined
    return {
      dueAt: new Date(),
      cause: 'wake',
      isTail: true,
      done: ({ inserted = 0, held = false }) => {
        if (held) this.rest()
        else this.#tailed(inserted)
        return Promise.resolve()
      },
    }
  }

  #pass(): DuePass {
    this.#passAt = undefined
    const beganAt = performance.now()
    return {
      dueAt: new Date(),
      cause: 'wake',
      done: ({ ok, inserted = 0, held = false }) => {
        if (held) this.rest()
        else if (ok) this.#passed(beganAt, inserted)
        else this.#passAt = performance.now()
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
        if (result.ok) this.#passed(beganAt, result.inserted ?? 0)
      },
    }
  }

  #tailed(inserted: number): void {
    if (this.signal.aborted || this.#resting) return
    const now = performance.now()
    this.#lookedAt = now
    this.#passAt = soonest(this.#passAt, Math.max(this.#rested, inserted > 0 ? now + GAP_MS : now))
    if (this.#state === 'awake' && this.#isOn && this.#passAt > now + GAP_MS) this.#tailAt = now + GAP_MS
  }

  #passed(beganAt: number, inserted: number): void {
    if (this.signal.aborted) return
    const now = performance.now()
    this.#lookedAt = now
    this.#rested = now + REST_TIMES * Math.max(0, now - beganAt - SHORT_MS)
    // Told of something, and found nothing: it may be the end of the flag.
    if (this.#state === 'asleep' && inserted === 0) void this.#stayAsleep()
    if (this.#state !== 'awake' || this.#resting) return
    if (this.#tailAt === undefined && (inserted === 0 || this.#isFirst || !this.#isOn))
      void this.#fallAsleep()
    else {
      const again = now + GAP_MS
      this.#passAt = Math.max(again, this.#rested)
      if (this.#passAt > again) this.#tailAt = soonest(this.#tailAt, again)
    }
    this.#isFirst = false
  }

  async #fallAsleep(): Promise<void> {
    this.#state = 'falling'
    const asleep = await this.#sleeper.fallAsleep()
    // Woken meanwhile: somebody else saw to the next look.
    if (this.#isAwake()) return
    this.#state = asleep ? 'asleep' : 'awake'
    this.#isOn = asleep
    if (!asleep) return
    this.#toldAt = performance.now()
    this.#passAt = Math.max(this.#toldAt, this.#rested)
    this.#rouse.abort()
  }

  async #stayAsleep(): Promise<void> {
    if (await this.#sleeper.isSound()) return
    if (this.#state === 'asleep') await this.#fallAsleep()
  }
}

function soonest(one: number | undefined, other: number): number
function soonest(one: number | undefined, other: number | undefined): number | undefined
function soonest(one: number | undefined, other: number | undefined): number | undefined {
  return one === undefined || other === undefined ? (one ?? other) : Math.min(one, other)
}
