/**
 * The circuit of one target: whether anything is sent to it now. In the memory of one instance; each finds out for
 * itself what it can reach.
 *
 *     closed ──so many failures without a success between──▶ open ──its time is over──▶ half open
 *       ▲  └──the target asks for time (Retry-After)──────▶ ▲                          │ one message probes
 *       │                                                      └────────failure───────────┤
 *       └──────────────────────────────success───────────────────────────────────────────┘
 *
 * - *closed*: everything is sent. A failure that says something about the target (no connection, a broken answer, a
 *   timeout, 5xx, 408, 429) counts; an answer of any other kind begins the count anew. Failures of one and the same
 *   message count once when the target had it: a message that makes it fail again and again must not stop the others.
 * - *open*: nothing is claimed, and what was claimed is given back. What was sent before goes on to its end: to cut it off
 *   would only send it twice.
 * - *half open*: one message is sent. If it fails, the next time is twice as long, and if the target had it, it waits for
 *   longer than that, so that the next probe is another one.
 */
import { backoffMs } from '../../kit/backoff.ts'
import type { Backoff } from '../../kit/backoff.ts'

/** How the target is, by what became of one message. `wait`: it asked for so many milliseconds. */
export type Finding =
  | { readonly kind: 'well' }
  | {
      readonly kind: 'ill'
      readonly why: string
      readonly reached: boolean
      readonly waitMs?: number | undefined
    }
  /** Ended by us: nothing is known. */
  | { readonly kind: 'unknown' }

export interface CircuitOptions {
  /** Failures without a success between, before it opens. */
  readonly failures?: number
  /** How long it is open: the first time, and at most. */
  readonly open?: Backoff
  /** Milliseconds, monotonic. */
  readonly now?: () => number
  onOpened(opened: { readonly why: string; readonly forMs: number; readonly failures: number }): void
  onClosed(closed: { readonly afterMs: number }): void
  /** It opened, closed, or a probe has ended: whoever waits for it looks again. */
  onChange(): void
}

/** The right to send one message now; call it once with what was found. */
export type Pass = (finding: Finding) => void

/** Enough that a restart of one of several machines behind an address does not open it. */
const FAILURES = 5

/** A minute of waiting after an outage of hours is little; a probe a minute is nothing to who is in trouble. */
const OPEN: Backoff = { baseMs: 1_000, maxMs: 60_000 }

/** A target's own word counts for longer than ours, but a single wrong one must not stop everything for a day. */
const LONGEST_ASKED_MS = 3_600_000

/**
 * Of messages that the target had and failed at, so many are told apart. While the circuit is open each of them waits until
 * as many probes have been made as there are such, and one more: what waits is claimed before what is fresh, and messages
 * that are bad in themselves would take turns in being the probe for ever.
 */
const MOST_BLAMED = 9

/** Somebody else's probe is under way; its end wakes. */
const PROBED_MS = 1_000

export class Circuit {
  readonly #options: CircuitOptions
  readonly #failuresToOpen: number
  readonly #open: Backoff
  readonly #now: () => number
  /** Failures since the newest success. */
  #failures = 0
  /** Messages among these that the target had. */
  readonly #blamed = new Set<string>()
  #openedAt: number | undefined
  #openUntil = 0
  #times = 0
  #why = ''
  #probing = false

  constructor(options: CircuitOptions) {
    this.#options = options
    this.#failuresToOpen = options.failures ?? FAILURES
    this.#open = options.open ?? OPEN
    this.#now = options.now ?? (() => performance.now())
  }

  /** Since when it is not closed, how many milliseconds until the next probe, and why; undefined: it is closed. */
  get broken(): { readonly forMs: number; readonly probeInMs: number; readonly why: string } | undefined {
    if (this.#openedAt === undefined) return undefined
    const now = this.#now()
    return { forMs: now - this.#openedAt, probeInMs: Math.max(0, this.#openUntil - now), why: this.#why }
  }

  /** Milliseconds for which nothing is sent; undefined: something may be. */
  get shutMs(): number | undefined {
    if (this.#openedAt === undefined) return undefined
    const leftMs = this.#openUntil - this.#now()
    if (leftMs > 0) return leftMs
    return this.#probing ? PROBED_MS : undefined
  }

  /** Milliseconds that a message waits after it has met a target in trouble; 0 while it is closed. */
  waitMs(reached: boolean): number {
    const { probeInMs = 0 } = this.broken ?? {}
    return reached ? probeInMs * (1 + this.#blamed.size) : probeInMs
  }

  /** Messages that may be sent at once. */
  get room(): number {
    return this.#openedAt === undefined ? Number.POSITIVE_INFINITY : 1
  }

  /** Asks to send a message; undefined: not now. */
  enter(messageId: string): Pass | undefined {
    if (this.shutMs !== undefined) return undefined
    const isProbe = this.#openedAt !== undefined
    this.#probing = isProbe
    return (finding) => {
      if (isProbe) this.#probing = false
      if (finding.kind === 'well') this.#well(isProbe)
      else if (finding.kind === 'ill') this.#ill(messageId, finding, isProbe)
      if (isProbe) this.#options.onChange()
    }
  }

  #well(isProbe: boolean): void {
    this.#failures = 0
    this.#blamed.clear()
    // Not by what was sent before it opened: the target may have asked for time since.
    if (this.#openedAt === undefined || !isProbe) return
    const afterMs = this.#now() - this.#openedAt
    this.#openedAt = undefined
    this.#times = 0
    this.#options.onClosed({ afterMs })
    this.#options.onChange()
  }

  #ill(messageId: string, { why, reached, waitMs }: Finding & { kind: 'ill' }, isProbe: boolean): void {
    const isOpen = this.#openedAt !== undefined
    if (!reached || !this.#blamed.has(messageId)) this.#failures += 1
    if (reached && this.#blamed.size < MOST_BLAMED) this.#blamed.add(messageId)
    // What was sent before it opened and fails now does not keep it open for longer, unless the target says so.
    const opens = waitMs !== undefined || (isOpen ? isProbe : this.#failures >= this.#failuresToOpen)
    if (!opens) return
    if (!isOpen || isProbe) this.#times += 1
    const forMs = Math.max(Math.min(waitMs ?? 0, LONGEST_ASKED_MS), backoffMs(this.#times, this.#open))
    this.#openUntil = Math.max(this.#openUntil, this.#now() + forMs)
    this.#why = why
    if (isOpen) return
    this.#openedAt = this.#now()
    this.#options.onOpened({ why, forMs, failures: this.#failures })
    this.#options.onChange()
  }
}
