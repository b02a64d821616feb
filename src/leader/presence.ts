/**
 * Presence: this instance's own heartbeat, and its judgement of who else is alive.
 *
 * The database owns the truth (`runner_instance`, and the sentinel locks in `pg_locks`); what this process adds is time
 * that it measured itself, by its monotonic clock, between two looks.
 *
 * Beat and look are one statement, and it brings what is paused and whether our own sentinel is seen held, too: an idle
 * instance asks little. They part when that
 * statement fails, so that a lock on one table, or on our own record, keeps us from no more than what it is about.
 *
 * Another instance is *dead* when its sentinel is free on two looks and its heartbeat has not moved for 5 s; without a
 * sentinel, when it has not moved for a lease. It is *frozen* when its sentinel is held and its heartbeat has not moved
 * for a lease. An owner of messages without any record is dead.
 *
 * - *Somebody has its record locked*: it cannot beat, so its silence proves nothing and begins anew at each look.
 * - *It cannot be taken back* (its rows are locked, a right is missing): it is tried at each look, and the others with it.
 * - *What is paused cannot be read, the joint statement hangs*: it ends by its limit, and for a while each is asked for alone.
 * - *Our own connection was away, or the server restarted*: every sentinel is free then while every process lives, so
 *   all that was seen is forgotten and nothing is believed for one lease.
 * - *We judge wrongly*: the judged one comes back with its next heartbeat, and its outcomes are fenced by the claim.
 * - *We die while taking back*: everybody else judges the same and goes on; taking back is idempotent.
 */
import type { Queryable } from '../db/pool.ts'
import { startLoop } from '../kit/loop.ts'
import { beat, beatAndLook, isSilent, markStopped, otherInstances } from '../tables/instance.ts'
import type { BeatAnswer, InstanceRecord, OtherInstance } from '../tables/instance.ts'

export interface PresenceOptions {
  readonly db: Queryable
  /** What the next heartbeat says; read each time. */
  record(): InstanceRecord
  readonly heartbeatMs: number
  readonly leaseMs: number
  /** Takes back what a dead or frozen instance had. True: nothing of it is left. */
  onGone(instanceId: string, state: 'dead' | 'frozen'): Promise<boolean>
  /** What the heartbeat learned besides, by a statement sent at this monotonic moment. */
  onLearned?(learned: Pick<BeatAnswer, 'paused' | 'sentinelHeld'>, askedAt: number): void
  /** A look or a beat failed, so many times in a row, or what was judged gone could not be taken back. */
  onError(what: 'beat' | 'watch' | 'take back', error: unknown, failuresInARow: number): void
  /** Milliseconds, monotonic. */
  now?: () => number
}

export interface Presence {
  /** Writes the present state at once. */
  announce(): Promise<void>
  /** When the newest heartbeat reached the database, by the monotonic clock; undefined before the first. */
  readonly lastBeatAt: number | undefined
  stop(): Promise<void>
}

interface Seen {
  lastSeenAt: string
  movedAt: number
  freeLooks: number
}

/** A heartbeat that has not moved for this long, with the sentinel free, is a death. More than two heartbeats. */
const STILL_MS = 5_000

/** While the database is away: soon enough to be back within seconds, seldom enough to be no load. */
const RETRY_MS = 1_000

/** After the joint statement failed: as long as locks of people last, and a try that hangs up to its limit costs no heartbeat. */
const APART_MS = 10_000

/** Judges by looks; apart from the loop so that a test can give it looks and a clock. */
export class Watcher {
  readonly #leaseMs: number
  readonly #seen = new Map<string, Seen>()
  #boot: string | undefined
  #believeFrom = Number.NEGATIVE_INFINITY

  constructor(leaseMs: number) {
    this.#leaseMs = leaseMs
  }

  /** Forgets everything and believes nothing for a lease: after our own connection was away. */
  distrust(now: number): void {
    this.#seen.clear()
    this.#believeFrom = now + this.#leaseMs
  }

  /** Its silence is not its own: it begins anew. */
  excuse(instanceId: string, now: number): void {
    const seen = this.#seen.get(instanceId)
    if (seen !== undefined) seen.movedAt = now
  }

  /**
   * What one look says of each other instance. Silence is counted up to the moment the look was asked for: its answer may
   * have lain unread while this process stood still.
   */
  judge(others: readonly OtherInstance[], askedAt: number, now = askedAt): Map<string, 'dead' | 'frozen'> {
    const boot = others[0]?.boot
    if (boot !== undefined) {
      if (this.#boot !== undefined && this.#boot !== boot) this.distrust(now)
      this.#boot = boot
    }
    const gone = new Map<string, 'dead' | 'frozen'>()
    for (const other of others) {
      const seen = this.#seen.get(other.instance_id) ?? { lastSeenAt: '', movedAt: now, freeLooks: 0 }
      this.#seen.set(other.instance_id, seen)
      if (seen.lastSeenAt !== other.last_seen_at) {
        seen.lastSeenAt = other.last_seen_at
        seen.movedAt = now
      }
      seen.freeLooks = other.sentinel && !other.sentinel_held ? seen.freeLooks + 1 : 0
      const stillMs = askedAt - seen.movedAt
      if (askedAt < this.#believeFrom) continue
      if (seen.freeLooks >= 2 && stillMs >= STILL_MS) gone.set(other.instance_id, 'dead')
      else if (stillMs >= this.#leaseMs) {
        gone.set(other.instance_id, other.sentinel && other.sentinel_held ? 'frozen' : 'dead')
      }
    }
    const present = new Set(others.map((other) => other.instance_id))
    for (const id of this.#seen.keys()) if (!present.has(id)) this.#seen.delete(id)
    return gone
  }
}

export function startPresence(options: PresenceOptions): Presence {
  const now = options.now ?? (() => performance.now())
  const watcher = new Watcher(options.leaseMs)
  let lastBeatAt: number | undefined
  /** How often in a row each instance could not be taken back. */
  const failedToTakeBack = new Map<string, number>()

  let newest: Promise<unknown> = Promise.resolve()
  let apartUntil = Number.NEGATIVE_INFINITY
  let failedLooks = 0
  /** What was seen is being judged, and what is gone taken back. */
  let judging: Promise<void> | undefined

  /**
   * One beat at a time. Two first beats at once would both insert the row, and the one that comes second fails on the
   * unique holder, which ON CONFLICT (instance_id) does not cover; and an older state could overwrite a newer one.
   */
  function inTurn<T>(act: () => Promise<T>): Promise<T> {
    const before = newest
    const mine = (async () => {
      await before.catch(() => undefined)
      const result = await act()
      lastBeatAt = now()
      return result
    })()
    newest = mine
    return mine
  }

  const announce = (): Promise<void> => inTurn(() => beat(options.db, options.record()))

  /** One that cannot be taken back must not keep the others from being judged. */
  async function takeBack(instanceId: string, state: 'dead' | 'frozen', lastSeenAt: string): Promise<void> {
    if (!(await isSilent(options.db, instanceId, lastSeenAt))) {
      watcher.excuse(instanceId, now())
      return
    }
    try {
      const isWhole = await options.onGone(instanceId, state)
      failedToTakeBack.delete(instanceId)
      if (isWhole && state === 'dead') await markStopped(options.db, instanceId, lastSeenAt)
    } catch (error) {
      const failures = (failedToTakeBack.get(instanceId) ?? 0) + 1
      failedToTakeBack.set(instanceId, failures)
      options.onError('take back', error, failures)
    }
  }

  async function judge(others: readonly OtherInstance[], askedAt: number): Promise<void> {
    try {
      for (const [instanceId, state] of watcher.judge(others, askedAt, now())) {
        const seen = others.find((other) => other.instance_id === instanceId)
        if (seen !== undefined) await takeBack(instanceId, state, seen.last_seen_at)
      }
      failedLooks = 0
    } catch (error) {
      lookFailed(error)
    }
  }

  function lookFailed(error: unknown): void {
    watcher.distrust(now())
    failedLooks += 1
    options.onError('watch', error, failedLooks)
  }

  /** Beside the beating: taking back what a dead instance had may take long, and we must not look dead meanwhile. */
  function see(others: readonly OtherInstance[], askedAt: number): void {
    judging ??= judge(others, askedAt).finally(() => (judging = undefined))
  }

  /** Neither waits for the other. */
  async function apart(): Promise<number> {
    const look = async (): Promise<void> => {
      const askedAt = now()
      see(await otherInstances(options.db, options.record().instanceId), askedAt)
    }
    const [beaten, looked] = await Promise.allSettled([announce(), look()])
    if (looked.status === 'rejected') lookFailed(looked.reason)
    if (beaten.status === 'rejected') throw beaten.reason
    return looked.status === 'rejected' ? RETRY_MS : options.heartbeatMs
  }

  const beating = startLoop({
    async body() {
      if (now() < apartUntil) return apart()
      let askedAt = now()
      try {
        const answer = await inTurn(() => {
          askedAt = now()
          return beatAndLook(options.db, options.record())
        })
        options.onLearned?.(answer, askedAt)
        see(answer.others, askedAt)
        return options.heartbeatMs
      } catch {
        // What it was is said by the one of them that meets it again.
        apartUntil = now() + APART_MS
        return apart()
      }
    },
    onError(error, failures) {
      options.onError('beat', error, failures)
      return RETRY_MS
    },
  })

  return {
    announce,
    get lastBeatAt() {
      return lastBeatAt
    },
    async stop() {
      await beating.stop()
      await judging
    },
  }
}
