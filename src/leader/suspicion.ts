import type { LeaderLook } from '../tables/leader.ts'

/** After our own connection was away: time for living leaders to take their sentinels again, in milliseconds. */
const DISTRUST_MS = 3_000

/** Two looks this share of their interval apart are two looks; timers are not exact. */
const APART = 0.8

/**
 * Evidence that a leader is dead: its sentinel was free on two looks, an interval apart, under one holder and term. The
 * evidence carries both, so that of two stand-bys with the same evidence only one can use it.
 */
export class Suspicion {
  readonly #lookMs: number
  readonly #suspects = new Map<string, { holder: string; term: string; at: number }>()
  #distrustUntil = Number.NEGATIVE_INFINITY

  constructor(lookMs: number) {
    this.#lookMs = lookMs
  }

  /** Forgets what was seen: our own connection was away, or the server restarted, which frees every sentinel. */
  distrust(now: number): void {
    this.#suspects.clear()
    this.#distrustUntil = now + DISTRUST_MS
  }

  /** Takes one look into account; returns whom it shows to be dead. */
  evidence(look: LeaderLook, now: number): { holder: string; term: string } | undefined {
    const { task_name: task, holder, term } = look
    if (!look.sentinel_free || holder === null || term === null || now < this.#distrustUntil) {
      this.#suspects.delete(task)
      return undefined
    }
    const earlier = this.#suspects.get(task)
    if (earlier?.holder !== holder || earlier.term !== term) {
      this.#suspects.set(task, { holder, term, at: now })
      return undefined
    }
    return now - earlier.at >= this.#lookMs * APART ? { holder, term } : undefined
  }
}
