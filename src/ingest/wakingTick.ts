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
 * rest for nine times as long as one took beside what was new, so that they take a tenth of the time at most. Latency must not be
 * theirs, so for inserts there are tails alone, in the *rest* as between two pages of a *long pass* (tick.ts: `tail`), which waits a
 * moment for the flag. A tail takes a bounded number of rows; a full one is followed by another at once. That goes up and down as
 * above, with tails in the place of passes, since awake is blind: writers are silent, and a row waits for the next look.
 *
 *   awake ──a tail found nothing──▶ falling ──the flag is set──▶ a tail ──▶ asleep; the pass comes after the rest
 *     ▲                                                                        │
 *     └────── notified again within a moment: a tail at once, and another ─────┘
 *
 * What the tail after the flag does not see, of a silent writer that took longer than a tail looks back, waits for the pass that
 * comes after the rest and has begun after the flag. A pass that was under way when the flag was set does not stand for it.
 *
 * - *A pass fails*: the poller waits as after any failure, and makes it again.
 * - *Notifications were not heard for a while* (LISTEN was down): `wake()` when they are heard again.
 * - *Inserts do not wake it* (the trigger is not there): after each pass by the clock it is asked whether they do now.
 * - *It is paused*: `rest()`. The flag is taken back, so writers are silent; the first pass that is made again sets it.
 * - *The lease ends*: the sleeper's session is closed, and the flag goes with it.
 */
import type { Sleeper } from './sleeper.ts'
import type { Tick } from './tick.ts'
import { WakingLead } from './wakingLead.ts'

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

export function createWakingTick(options: WakingTickOptions): WakingTick {
  let lead: WakingLead | undefined
  return {
    async next(signal) {
      if (signal.aborted) return options.inner.next(signal)
      if (lead?.signal !== signal) {
        const begun = new WakingLead(options.inner, options.createSleeper(), signal)
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
