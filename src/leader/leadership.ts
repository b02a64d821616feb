/**
 * Leadership: a lease with a term, for every led task of this process.
 *
 * States of a task here: *stand-by* (somebody else leads, or nobody does and we may not), *leading* (the row in
 * `background_task_leader` names our holder and term), *leaving* (the lease is given up or lost, and what was started
 * under it comes to its end). The database owns the truth; its clock alone ends leases.
 *
 *     stand-by ──take over──▶ leading ──handed over, lost, refused──▶ leaving ──▶ stand-by
 *
 * - *The leader's process dies*: its sentinel is free within milliseconds. A stand-by that has seen it free on two looks
 *   a second apart takes over, with that very holder and term as its evidence, so that two stand-bys with the same
 *   evidence cannot oust one another.
 * - *The leader freezes, or its host vanishes*: the lease runs out, then anybody takes over.
 * - *A frozen leader wakes*: its term is over, every fenced write returns no row, it says so and steps back. Even one
 *   with nothing to write asks to give its lease up, and so learns that it is somebody else's.
 * - *A table of ours is dropped*: every lease is given up, and none taken before the table is back; what then begins has
 *   a higher term, which refuses whatever was on its way.
 * - *The database is away*: nobody can renew or take over. The leader trusts its lease until attempt start + lease − 2 s
 *   and then stops by itself; that is only politeness, the fence is the safety.
 * - *The server restarted*: every sentinel is free while every process lives, so for a few seconds no sentinel counts.
 * - *A drain*: `handOver` deletes the lease and tells the stand-bys in one statement; the next leader is there within
 *   milliseconds.
 */
import type { Queryable } from '../db/pool.ts'
import { startLoop } from '../kit/loop.ts'
import { lookAtLeaders, releaseLease, renewLeases, takeOver } from '../tables/leader.ts'
import type { Leadership as Term, LeaderLook } from '../tables/leader.ts'
import { announceLeader } from './announce.ts'
import { Suspicion } from './suspicion.ts'
import { cleanError } from '../telemetry/errorText.ts'
import type { Log } from '../telemetry/log.ts'

/** The right to act for one task, for one term. */
export interface Lease {
  readonly task: string
  readonly holder: string
  readonly term: string
  /** Pollers: the pass that the takeover opened. */
  readonly pass: string | null
  /** Pollers: the takeover had to make the watermark row, which begins at this edge. */
  readonly createdEdge: string | null
  /** Aborted when the lease was handed over, lost, or not renewed in time. */
  readonly signal: AbortSignal
  /** The database refused a write of ours: somebody else leads. */
  refused(what: string): void
}

export interface LedTask {
  readonly name: string
  /** Works for as long as the lease's signal allows; resolves when nothing of it runs any more. */
  readonly lead: (lease: Lease) => Promise<void>
}

export type Role =
  | { readonly role: 'unknown' }
  | { readonly role: 'leader'; readonly term: string }
  | { readonly role: 'standby'; readonly leader: string | null }

export interface LeadershipOptions {
  readonly db: Queryable
  readonly me: { readonly holder: string; readonly instanceId: string }
  readonly tasks: readonly LedTask[]
  readonly heartbeatMs: number
  readonly leaseMs: number
  /** Whether this instance is whole and staying: a half-started or draining one takes nothing over. */
  readonly mayLead: () => boolean
  readonly log: Log
}

export interface Leaders {
  /** Look at once: somebody said that a lease is free. */
  wake(): void
  roles(): ReadonlyMap<string, Role>
  /** Writes of ours that were refused because somebody else leads. */
  readonly staleWrites: number
  /** Gives up the leases of these tasks, first thing; resolves when their work has come to its end. */
  handOver(tasks: readonly string[]): Promise<void>
  /** Gives up every lease because a table of ours is gone: what comes after it begins with a term of its own. */
  stepBack(): void
  /** Ends the loops, and hands over what is still held. */
  stop(): Promise<void>
}

interface Held {
  readonly lease: Lease
  readonly ending: AbortController
  ended: Promise<void>
  trustedUntil: number
  trustTimer: NodeJS.Timeout
}

const LOOK_MS = 1_000

/** A lease is trusted for this much less than its length: time for the signal to reach what runs under it. */
const TRUST_MARGIN_MS = 2_000

/** A task whose work broke is left to others for this long. */
const COOL_OFF_MS = 2_000

export function startLeadership(options: LeadershipOptions): Leaders {
  const { db, me, log, leaseMs } = options
  const held = new Map<string, Held>()
  const roles = new Map<string, Role>(options.tasks.map((task) => [task.name, { role: 'unknown' }]))
  const suspicion = new Suspicion(LOOK_MS)
  const coolUntil = new Map<string, number>()
  /** Tasks whose former work here has not come to its end: not led again before it has. */
  const leaving = new Set<string>()
  const releasing = new Set<Promise<void>>()
  let staleWrites = 0

  function standBy(task: string, leader: string | null): void {
    const before = roles.get(task)
    roles.set(task, { role: 'standby', leader })
    const steppedBack = before?.role === 'standby' && before.leader === null && options.mayLead()
    if (before?.role === 'unknown' || (leader !== null && steppedBack)) {
      const msg = `${task} not started as leader: stand-by, leader is ${leader ?? 'nobody yet'}`
      log.event('task_standby', msg, { task, leader: leader ?? '' })
    }
  }

  /** Ends the work under a lease. The lease itself is over already, or about to be released. */
  function end(
    task: string,
    reason: 'handed over' | 'lost' | 'refused' | 'not renewed in time' | 'failed' | 'a table is missing',
  ): Held | undefined {
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

  async function decide(task: LedTask, look: LeaderLook): Promise<void> {
    const at = performance.now()
    const dead = evidence(look, at)
    const may = options.mayLead() && !leaving.has(task.name) && at >= (coolUntil.get(task.name) ?? 0)
    if (!may || !(look.is_free || dead !== undefined)) {
      if (!look.is_free) standBy(task.name, look.instance_id)
      return
    }
    const won = await takeOver(db, task.name, me, leaseMs, dead)
    if (won === undefined)
      looking.wake() // lost the election: look who won
    else if (options.mayLead()) begin(task, won, at)
    else await releaseLease(db, task.name, me, won.term) // a drain began meanwhile
  }

  /** A lease of our own that we do not act under (its answer was lost, or we stepped back) is ours to replace. */
  function evidence(look: LeaderLook, at: number): { holder: string; term: string } | undefined {
    const { holder, term } = look
    if (holder === me.holder && term !== null) return { holder, term }
    return suspicion.evidence(look, at)
  }

  function failed(task: string, error: unknown): void {
    const { class: errorClass, text } = cleanError(error)
    const msg = `${task}: could not take over: ${text}`
    log.event('loop_failed', msg, { loop: 'take over', task, class: errorClass, text })
  }

  const looking = startLoop({
    async body() {
      const idle = options.tasks.filter((task) => !held.has(task.name))
      if (idle.length === 0) return LOOK_MS
      const looks = await lookAtLeaders(
        db,
        idle.map((task) => task.name),
        leaseMs,
      )
      for (const look of looks) {
        const task = idle.find((candidate) => candidate.name === look.task_name)
        if (task === undefined) continue
        // One task that cannot be taken over (its rows are locked) must not keep the others without a leader.
        await decide(task, look).catch((error: unknown) => failed(task.name, error))
      }
      return LOOK_MS
    },
    onError() {
      suspicion.distrust(performance.now())
      return LOOK_MS
    },
  })

  const renewing = startLoop({
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
        if (renewed.has(one.lease.task)) trust(one, at)
        else {
          sayRefused(one.lease.task, one.lease.term, 'a renewal')
          end(one.lease.task, 'lost')
        }
      }
      return options.heartbeatMs
    },
    onError: () => Math.min(500, options.heartbeatMs),
  })

  return {
    wake: () => looking.wake(),
    roles: () => roles,
    get staleWrites() {
      return staleWrites
    },
    async handOver(tasks) {
      for (const task of tasks) leave(task, 'handed over')
      // Also those that another call began: whoever hands over may leave when this resolves.
      await Promise.all(releasing)
    },
    stepBack() {
      for (const task of [...held.keys()]) leave(task, 'a table is missing')
    },
    async stop() {
      await Promise.all([looking.stop(), renewing.stop()])
      await this.handOver([...held.keys()])
    },
  }
}
