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
 * - *A lease's row is locked by somebody*: the others are renewed all the same, and this one at the next heartbeat.
 * - *A table of ours is dropped*: every lease is given up, and none taken before the table is back; what then begins has
 *   a higher term, which refuses whatever was on its way. It is higher, too, when the terms themselves were lost: they
 *   stand in every record of what was done under them.
 * - *The database is away*: nobody can renew or take over. The leader trusts its lease until attempt start + lease − 2 s
 *   and then stops by itself; that is only politeness, the fence is the safety.
 * - *The server restarted*: every sentinel is free while every process lives, so for a few seconds no sentinel counts.
 * - *An operator gave a poller another source* (reset): whoever still has the former one in its config stands for it no more.
 * - *A drain*: `handOver` deletes the lease and tells the stand-bys in one statement; the next leader is there within
 *   milliseconds.
 */
import { startLoop } from '../kit/loop.ts'
import { lookAtLeaders, releaseLease, takeOver } from '../tables/leader.ts'
import type { LeaderLook } from '../tables/leader.ts'
import type { LedTask, Role } from './lease.ts'
import { sayFailing } from './sayFailing.ts'
import { Suspicion } from './suspicion.ts'
import { keepTenures } from './tenure.ts'
import type { TenureOptions } from './tenure.ts'

export interface LeadershipOptions extends TenureOptions {
  /** Whether this instance is whole and staying: a half-started or draining one takes nothing over. */
  readonly mayLead: () => boolean
}

export interface Leaders {
  /** Stands for one more task from now on. */
  add(task: LedTask): void
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

const LOOK_MS = 1_000

export function startLeadership(options: LeadershipOptions): Leaders {
  const { db, me, log, leaseMs } = options
  const tenures = keepTenures(options)
  const { roles } = tenures
  const tasks = [...options.tasks]
  const suspicion = new Suspicion(LOOK_MS)
  const lookFailed = sayFailing(log, 'leaders', 'it could not be seen who leads')
  /** Tasks that were led here since somebody else was last said to lead them. */
  const led = new Set<string>()
  /** Why tasks are not led here, as it was said last. */
  const unfitFor = new Map<string, string>()
  /** How often in a row each task could not be taken over. */
  const failedToTakeOver = new Map<string, number>()

  function standBy(task: string, leader: string): void {
    const isNews = roles.get(task)?.role === 'unknown' || (options.mayLead() && led.delete(task))
    roles.set(task, { role: 'standby', leader })
    if (!isNews) return
    const msg = `${task} not started as leader: stand-by, leader is ${leader}`
    log.event('task_standby', msg, { task, leader })
  }

  /** It is said once for each reason; another instance, or a restart with another config, is what can lead it. */
  function isUnfit({ name, unfit }: LedTask, look: LeaderLook): boolean {
    const reason = unfit?.(look)
    if (reason !== undefined && unfitFor.get(name) !== reason)
      log.event('task_failed_to_start', `${name} is not led here: ${reason}`, { task: name, reason })
    if (reason === undefined) unfitFor.delete(name)
    else unfitFor.set(name, reason)
    return reason !== undefined
  }

  /** Without a word: the next look mostly finds one. */
  function nobodyLeads(task: string): void {
    if (roles.get(task)?.role === 'standby') roles.set(task, { role: 'standby', leader: null })
  }

  async function decide(task: LedTask, look: LeaderLook): Promise<void> {
    const at = performance.now()
    const dead = evidence(look, at)
    const may = options.mayLead() && tenures.isFree(task.name, at)
    // A lease that is over leads nobody, and one of our own that we do not act under is no other's.
    const leader = look.is_free || look.holder === me.holder ? null : look.instance_id
    if (leader === null) nobodyLeads(task.name)
    if (isUnfit(task, look)) return
    if (!may || !(look.is_free || dead !== undefined)) {
      if (leader !== null) standBy(task.name, leader)
      return
    }
    const won = await takeOver(db, task.name, me, leaseMs, dead)
    failedToTakeOver.delete(task.name)
    if (won === undefined)
      looking.wake() // lost the election: look who won
    else if (options.mayLead()) {
      led.add(task.name)
      tenures.begin(task, won, at)
    } else await releaseLease(db, task.name, me, won.term) // a drain began meanwhile
  }

  /** A lease of our own that we do not act under (its answer was lost, or we stepped back) is ours to replace. */
  function evidence(look: LeaderLook, at: number): { holder: string; term: string } | undefined {
    const { holder, term } = look
    if (holder === me.holder && term !== null) return { holder, term }
    return suspicion.evidence(look, at)
  }

  function failed(task: string, error: unknown): void {
    const inARow = (failedToTakeOver.get(task) ?? 0) + 1
    failedToTakeOver.set(task, inARow)
    sayFailing(log, 'take over', `${task}: could not take over`, task)(error, inARow)
  }

  const looking = startLoop({
    async body() {
      const idle = tasks.filter((task) => !tenures.held().includes(task.name))
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
    onError(error, failures) {
      suspicion.distrust(performance.now())
      lookFailed(error, failures)
      return LOOK_MS
    },
  })

  /** Also waits for those that another call began: whoever hands over may leave when this resolves. */
  async function handOver(tasks: readonly string[]): Promise<void> {
    for (const task of tasks) tenures.leave(task, 'handed over')
    await tenures.settled()
  }

  return {
    add(task) {
      tasks.push(task)
      roles.set(task.name, { role: 'unknown' })
      looking.wake()
    },
    wake: () => looking.wake(),
    roles: () => roles,
    get staleWrites() {
      return tenures.staleWrites
    },
    handOver,
    stepBack() {
      for (const task of tenures.held()) tenures.leave(task, 'a table is missing')
    },
    async stop() {
      await Promise.all([looking.stop(), tenures.stop()])
      await handOver(tenures.held())
    },
  }
}
