/** The states of a poller that inserts wake, and what leads from one to the next: wakingTick.ts has their picture. */
import { pause } from '../kit/pause.ts'
import { restMs } from './rest.ts'
import type { Sleeper } from './sleeper.ts'
import type { DuePass, Tick } from './tick.ts'

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

/** A long pass waits so long, at most, for a flag: without one, who writes while it is made is heard by nobody. */
const FLAG_MS = 100

/** One lead of a poller that inserts wake. */
export class WakingLead {
  readonly signal: AbortSignal
  readonly #inner: Tick
  readonly #sleeper: Sleeper
  /** What the inner tick has been asked for and not handed on yet. */
  #pending: Promise<DuePass | undefined> | undefined
  #state: 'awake' | 'falling' | 'asleep' = 'awake'
  /** Raised by whatever makes a fall that is under way obsolete. */
  #fall = 0
  /** When the next tail, and the next pass, are to begin, by the monotonic clock. */
  #tailAt: number | undefined
  #passAt: number | undefined
  /** When it fell asleep, or was told of an insert last. */
  #toldAt = Number.NEGATIVE_INFINITY
  /** The first pass of a lead: what it finds is no flood. */
  #isFirst = true
  /** When the pass under way began. */
  #beganAt: number | undefined
  /** The last pass took long enough to rest after it; the next one will. */
  #isLong = false
  #lookedAt = Number.NEGATIVE_INFINITY
  #rested = Number.NEGATIVE_INFINITY
  #resting = false
  /** Inserts wake it, as far as is known; only then it looks between what falls due by the clock. */
  #isOn = false
  #rouse = new AbortController()

  constructor(inner: Tick, sleeper: Sleeper, signal: AbortSignal) {
    this.#inner = inner
    this.#sleeper = sleeper
    this.signal = signal
  }

  async next(): Promise<DuePass | undefined> {
    this.#pending ??= this.#inner.next(this.signal)
    const pending = this.#pending.then((due) => ({ due }))
    for (;;) {
      this.#rouse = new AbortController()
      const now = performance.now()
      if (this.#tailAt !== undefined && this.#tailAt <= now) return this.#tail()
      const passAt = this.#passDueAt()
      if (passAt !== undefined && passAt <= now) return this.#pass()
      const waits = soonest(this.#tailAt, passAt)
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

  #awake(): void {
    this.#state = 'awake'
    this.#fall += 1
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
      done: ({ inserted = 0, full = false, held = false }) => {
        if (held) this.rest()
        else this.#tailed(inserted, full)
        return Promise.resolve()
      },
    }
  }

  #pass(): DuePass {
    this.#passAt = undefined
    return this.#begun({ dueAt: new Date(), cause: 'wake' }, ({ ok, held = false, ...found }) => {
      if (held) this.rest()
      else if (ok) this.#passed(found)
      else this.#passAt = performance.now()
    })
  }

  #byClock(due: DuePass): DuePass {
    return this.#begun(due, async (result) => {
      const { ok, held = false, ...found } = result
      await due.done(result)
      if (held) {
        this.rest()
        return
      }
      this.#resting = false
      if (ok) this.#passed(found)
    })
  }

  #begun(
    due: Omit<DuePass, 'done' | 'tail'>,
    ended: (result: Parameters<DuePass['done']>[0]) => Promise<void> | void,
  ): DuePass {
    const beganAt = performance.now()
    this.#beganAt = beganAt
    return {
      ...due,
      tail: () => (this.#isTailDue(beganAt) ? this.#tail() : undefined),
      done: async (result) => {
        this.#beganAt = undefined
        if (result.ok) {
          const now = performance.now()
          const rest = restMs(now - beganAt, result.rereadMs ?? 0, result.inserted ?? 0)
          this.#isLong = rest > 0
          this.#rested = now + rest
        }
        await ended(result)
      },
    }
  }

  /** Between two pages. One that is awake looks by itself, as between two passes. */
  #isTailDue(beganAt: number): boolean {
    const now = performance.now()
    if (this.#resting || this.signal.aborted) return false
    if (this.#tailAt !== undefined) return this.#tailAt <= now
    return this.#isBlind() && now >= Math.max(beganAt, this.#lookedAt) + GAP_MS
  }

  #passDueAt(): number | undefined {
    if (this.#passAt === undefined || !this.#isLong || !this.#isBlind()) return this.#passAt
    return this.#passAt + FLAG_MS
  }

  /** Writers are silent, and there is nobody else to look. */
  #isBlind(): boolean {
    return this.#state === 'awake' && this.#isOn
  }

  #tailed(inserted: number, full: boolean): void {
    if (this.signal.aborted || this.#resting) return
    const now = performance.now()
    this.#lookedAt = now
    this.#passAt = soonest(this.#passAt, Math.max(this.#rested, inserted > 0 && !full ? now + GAP_MS : now))
    if (full) {
      // More is waiting. A pass takes it in by larger pages; where none may begin, the next tail does.
      if (this.#beganAt !== undefined || (this.#passDueAt() ?? now) > now) this.#tailAt = now
      return
    }
    if (!this.#isBlind() || this.#tailAt !== undefined) return
    if (this.#beganAt === undefined && !this.#isLong && this.#passAt <= now + GAP_MS) return
    if (inserted === 0) void this.#fallAsleep()
    else if (this.#beganAt === undefined) this.#tailAt = now + GAP_MS
  }

  #passed({ inserted = 0 }: { readonly inserted?: number }): void {
    if (this.signal.aborted) return
    const now = performance.now()
    this.#lookedAt = now
    if (this.#passAt !== undefined) this.#passAt = Math.max(this.#passAt, this.#rested)
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
    const fall = (this.#fall += 1)
    const asleep = await this.#sleeper.fallAsleep()
    // Woken meanwhile, and perhaps falling again: somebody else saw to the next look.
    if (this.#fall !== fall) return
    this.#state = asleep ? 'asleep' : 'awake'
    this.#isOn = asleep
    if (!asleep) return
    const now = performance.now()
    this.#toldAt = now
    this.#passAt = Math.max(now, this.#rested)
    if (this.#beganAt !== undefined || this.#passAt > now) this.#tailAt = now
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
