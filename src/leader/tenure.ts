/**
 * Tenures: the leases that this process holds, from the won election to the end of the last work done under them.
 *
 *     begin ──▶ held ──handed over, lost, refused, not renewed in time, failed──▶ leaving ──its work has ended──▶ gone
 *
 * A task that is leaving is not led again here before its former work has come to its end: two works for one task in one
 * process would share a holder, and the fence could not tell them apart but by the term. `end` is the only way out of
 * *held*, and only the first caller gets the tenure back, so that every lease is given up once.
 */
import type { Queryable } from '../db/pool.ts'
import { startLoop } from '../kit/loop.ts'
import type { Loop } from '../kit/loop.ts'
import { releaseLease, renewLeases } from '../tables/leader.ts'
import type { Leadership as Term } from '../tables/leader.ts'
import { cleanError } from '../telemetry/errorText.ts'
import type { Log } from '../telemetry/log.ts'
import { announceLeader } from './announce.ts'
import type { Lease, LedTask, Role } from './lease.ts'
import { sayFailing } from './sayFailing.ts'

export interface TenureOptions {
  readonly db: Queryable
  readonly me: { readonly holder: string; readonly instanceId: string }
  readonly tasks: readonly LedTask[]
  readonly heartbeatMs: number
  readonly leaseMs: number
  readonly log: Log
}

export interface Tenures {
  /** What this process knows of each task's leader. */
  readonly roles: Map<string, Role>
  /** Writes of ours that were refused because somebody else leads. */
  readonly staleWrites: number
  /** The tasks that are held here. */
  held(): readonly string[]
  /** Whether an election for the task may be tried here at this monotonic moment: its former work is over and cooled off. */
  isFree(task: string, now: number): boolean
  /** An election was won by an attempt that began at this monotonic moment. */
  begin(task: LedTask, won: Term, attemptStartedAt: number): void
  /** Gives the lease up, if it is held; `settled` resolves when its work has come to its end. */
  leave(task: string, reason: 'handed over' | 'a table is missing'): void
  /** Resolves when everything that was left has come to its end, whoever had it left. */
  settled(): Promise<void>
  /** Ends the renewals; leases that are still held run out by themselves. */
  stop(): Promise<void>
}

type Reason = 'handed over' | 'lost' | 'refused' | 'not renewed in time' | 'failed' | 'a table is missing'

interface Held {
  readonly lease: Lease
  readonly ending: AbortController
  ended: Promise<void>
  trustedUntil: number
  trustTimer: NodeJS.Timeout
}

/** A lease is trusted for this much less than its length: time for the signal to reach what runs under it. */
const TRUST_MARGIN_MS = 2_000

/** After a renewal that failed: several tries before the lease is no longer trusted. */
const RENEW_AGAIN_MS = 500

/** A task whose work broke is left to others for this long. */
const COOL_OFF_MS = 2_000

export function keepTenures(options: TenureOptions): Tenures {
  const { db, me, log, leaseMs } = options
  const held = new Map<string, Held>()
  const roles = new Map<string, Role>(options.tasks.map((task) => [task.name, { role: 'unknown' }]))
  const coolUntil = new Map<string, number>()
  /** Tasks whose former work here has not come to its end: not led again before it has. */
  const leaving = new Set<string>()
  const releasing = new Set<Promise<void>>()
  const renewalFailed = sayFailing(log, 'renewal', 'the leases could not be renewed')
  let staleWrites = 0

  /** Ends the work under a lease. The lease itself is over already, or about to be released. */
  function end(task: string, reason: Reason): Held | undefined {
    const mine = held.get(task)
    if (mine === undefined) return undefined
    held.delete(task)
    leaving.add(task)
    void mine.ended.finally(() => leaving.delete(task))
    clearTimeout(mine.trustTimer)
    mine.ending.abort(reason)
    coolUntil.set(task, performance.now() + (reason === 'handed over' ? 0 : COOL_OFF_MS))
    const { term } = mine.lease
    roles.set(task, { role: 'standby', leader: null })
    if (reason !== 'handed over') {
      log.event('leader_lost', `${task}: no longer leader (term ${term}): ${reason}`, {
        task,
        term: Number(term),
        reason,
      })
    }
    return mine
  }

  function trust(mine: Held, attemptStartedAt: number): void {
    mine.trustedUntil = attemptStartedAt + leaseMs - Math.min(TRUST_MARGIN_MS, leaseMs / 2)
    clearTimeout(mine.trustTimer)
    const wait = Math.max(0, mine.trustedUntil - performance.now())
    mine.trustTimer = setTimeout(() => {
      end(mine.lease.task, 'not renewed in time')
      // The database tells whether somebody else leads by now; while it is away, nobody does.
      const { task, term } = mine.lease
      releaseLease(db, task, me, term).then(
        (released) => {
          if (!released) sayRefused(task, term, 'giving the lease up')
        },
        () => undefined,
      )
    }, wait)
  }

  function sayRefused(task: string, term: string, what: string): void {
    staleWrites += 1
    const msg = `${task}: ${what} of term ${term} was refused`
    log.event('stale_write_refused', msg, { task, term: Number(term), what })
  }

  function begin(task: LedTask, won: Term, attemptStartedAt: number): void {
    const ending = new AbortController()
    const lease: Lease = {
      task: task.name,
      holder: me.holder,
      term: won.term,
      pass: won.pass,
      createdEdge: won.created === true ? won.edge : null,
      signal: ending.signal,
      refused(what) {
        sayRefused(task.name, won.term, what)
        end(task.name, 'refused')
        // When only an answer was lost the lease is ours still, and nobody could lead before it ran out.
        void releaseLease(db, task.name, me, won.term).catch(() => undefined)
      },
    }
    const first = roles.get(task.name)?.role === 'unknown'
    roles.set(task.name, { role: 'leader', term: won.term })
    announceLeader(log, task.name, won, first)
    const mine: Held = {
      lease,
      ending,
      ended: Promise.resolve(),
      trustedUntil: 0,
      trustTimer: setTimeout(() => undefined, 0),
    }
    held.set(task.name, mine)
    trust(mine, attemptStartedAt)
    mine.ended = task.lead(lease).catch((error: unknown) => {
      const { class: errorClass, text } = cleanError(error)
      log.event('loop_failed', `${task.name}: its work as leader broke: ${text}`, {
        loop: 'lead',
        task: task.name,
        class: errorClass,
        text,
      })
      if (end(task.name, 'failed') !== undefined)
        void releaseLease(db, task.name, me, won.term).catch(() => undefined)
    })
  }

  async function release({ lease, ended }: Held): Promise<void> {
    const { task, term } = lease
    if (await releaseLease(db, task, me, term).catch(() => false)) {
      const msg = `${task}: lease given up (term ${term})`
      log.event('leader_handed_over', msg, { task, term: Number(term) })
    }
    await ended
  }

  function leave(task: string, reason: 'handed over' | 'a table is missing'): void {
    const mine = end(task, reason)
    if (mine === undefined) return
    const over = release(mine).finally(() => releasing.delete(over))
    releasing.add(over)
  }

  const renewing: Loop = startLoop({
    async body() {
      const mine = [...held.values()]
      if (mine.length === 0) return options.heartbeatMs
      const at = performance.now()
      const renewed = await renewLeases(
        db,
        mine.map(({ lease }) => lease),
        me.holder,
        leaseMs,
      )
      for (const one of mine) {
        if (held.get(one.lease.task) !== one) continue
        const state = renewed.get(one.lease.task)
        if (state === 'renewed') trust(one, at)
        else if (state === undefined) {
          sayRefused(one.lease.task, one.lease.term, 'a renewal')
          end(one.lease.task, 'lost')
        }
      }
      return options.heartbeatMs
    },
    onError(error, failures) {
      renewalFailed(error, failures)
      return Math.min(RENEW_AGAIN_MS, options.heartbeatMs)
    },
  })

  return {
    roles,
    get staleWrites() {
      return staleWrites
    },
    held: () => [...held.keys()],
    isFree: (task, now) => !held.has(task) && !leaving.has(task) && now >= (coolUntil.get(task) ?? 0),
    begin,
    leave,
    async settled() {
      await Promise.all(releasing)
    },
    stop: () => renewing.stop(),
  }
}
