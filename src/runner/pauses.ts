/**
 * Pauses: what operators have paused, as this instance knows it, and the word to its parts when that changes.
 *
 * The database owns the truth, `background_task.paused`. A pause is one UPDATE, whoever makes it and how: triggers stamp
 * it, put it on record and notify. This process keeps a copy, which one loop renews for all tasks together, at a
 * notification and by the clock; each heartbeat brings what is paused, too, and saves a look. The parts ask the copy before
 * anything begins: the poller before a pass and after each page, the processor before and after a claim, a job's worker before
 * it fetches.
 *
 *     running ──UPDATE … paused = true──▶ paused ──UPDATE … paused = false, or its row is gone──▶ running
 *
 * - *A claim is on its way when the word comes*: what it brings is given back unrun. What had begun goes on to its end.
 * - *A notification is lost, LISTEN is down, or there is none*: the clock's look finds it, within `EVERY_MS`.
 * - *Two answers cross*: what was asked for before another answer came may be older than that. It is left; a look is made again.
 * - *Heartbeats come late, fail, or bring nothing*: the clock counts from what was learned last.
 * - *The database is away*: the copy stands. Nothing could be claimed or read meanwhile; its return is a reason to look.
 * - *Two operators at once*: they wait for one another at the row, and the second finds it done. What counts is the row,
 *   not the order in which words arrive.
 * - *Paused and resumed between two looks*: never seen here. The record has both.
 * - *A start, or a new leader*: the first look comes before anything begins, so a restart never runs a paused task.
 * - *A drain*: nothing of this matters to it; what is resumed meanwhile begins on the others.
 * - *background_task is dropped*: the copy stands until it is back; a row that is made again is not paused, and that is said.
 * - *An instance of a release before pauses*: it does not ask, and goes on.
 *
 * A pause ends no leadership: a paused poller keeps its lease, so that a resume needs no election, and an instance all of
 * whose tasks are paused is whole and may lead.
 */
import type { Queryable } from '../db/pool.ts'
import { startLoop } from '../kit/loop.ts'
import { orphanedTasks, pausedTasks, resumedBy } from '../tables/control.ts'
import { cleanError } from '../telemetry/errorText.ts'
import type { Log } from '../telemetry/log.ts'

export interface PausesOptions {
  /** Not what handlers may use up: a pause must get through beside them. */
  readonly db: Queryable
  readonly instanceId: string
  /** Those of this instance. */
  readonly tasks: readonly string[]
  readonly log: Log
  /** Between two looks that nothing has asked for, in milliseconds. Default: 1.5 s. */
  readonly everyMs?: number
  /** Between two looks for tasks that nobody has, in milliseconds. Default: 30 s. */
  readonly orphansEveryMs?: number
}

export interface Pauses {
  isPaused(task: string): boolean
  /** `paused by ann`; undefined: it is not paused. */
  reason(task: string): string | undefined
  /** Something may have changed: look at once. */
  wake(): void
  /** Somebody else has learned what is paused, by a statement sent at this monotonic moment. */
  told(paused: ReadonlyMap<string, string | null>, askedAt: number): void
  /** From now on told of every task of this instance that is paused or resumed. */
  tell(onChange: (task: string, paused: boolean) => void): void
  stop(): Promise<void>
}

/** Operators are promised 2 s: the rest is for the statement, and for a process that has much to do. */
const EVERY_MS = 1_500

/**
 * After a word of the heartbeat, the next of which comes after 2 s: halfway, so that something is asked each second, and the
 * pulse need not ask as well.
 */
const TOLD_SHARE = 2 / 3

/** Time for an instance that is being replaced to be there again; a task must be without one on two looks. */
const ORPHANS_EVERY_MS = 30_000

const RETRY_MS = 1_000

/** Looks once, so that what is paused is known before anything begins, and goes on looking. Throws what the first look does. */
export async function startPauses(options: PausesOptions): Promise<Pauses> {
  const { db, instanceId, tasks, log } = options
  const { everyMs = EVERY_MS, orphansEveryMs = ORPHANS_EVERY_MS } = options
  let paused: ReadonlyMap<string, string | null> = new Map()
  /** Parts that start ask for themselves. */
  let onChange: (task: string, paused: boolean) => void = () => undefined

  /** When the newest answer was there. */
  let knownAt = Number.NEGATIVE_INFINITY
  let nextAt = 0
  let isAsked = false
  /** The words about who resumed what, one after the other. */
  let words: Promise<void> = Promise.resolve()

  async function look(): Promise<void> {
    const askedAt = performance.now()
    isAsked = false
    // Left: it may have been asked for because of something that the other answer had not seen.
    if (!take(await pausedTasks(db), askedAt, everyMs)) isAsked = true
    await words
  }

  /** False: another answer may be newer. */
  function take(found: ReadonlyMap<string, string | null>, askedAt: number, goodMs: number): boolean {
    if (askedAt < knownAt) return false
    knownAt = performance.now()
    nextAt = Math.max(nextAt, askedAt + goodMs)
    const before = paused
    const resumed = tasks.filter((task) => before.has(task) && !found.has(task))
    paused = found
    for (const task of tasks.filter((one) => found.has(one) && !before.has(one))) {
      log.event('task_paused', `${task} is ${reason(task)}`, { task, by: found.get(task) ?? null })
      onChange(task, true)
    }
    for (const task of resumed) {
      onChange(task, false)
      words = words.then(() => sayResumed(task))
    }
    return true
  }

  async function sayResumed(task: string): Promise<void> {
    const who = await resumedBy(db, task).catch(() => null)
    log.event('task_resumed', `${task} is resumed${who === null ? '' : ` by ${who}`}`, { task, by: who })
  }

  function reason(task: string): string | undefined {
    const by = paused.get(task)
    if (by === undefined) return undefined
    return by === null ? 'paused' : `paused by ${by}`
  }

  const orphans = orphanWatch(db, instanceId, log)
  let orphansAt = performance.now() + orphansEveryMs
  await look()
  const loop = startLoop({
    async body() {
      if (isAsked || performance.now() >= nextAt) await look()
      if (performance.now() >= orphansAt) {
        orphansAt = performance.now() + orphansEveryMs
        await orphans()
      }
      return isAsked ? 0 : nextAt - performance.now()
    },
    onError(error, failures) {
      isAsked = true
      const { class: errorClass, text } = cleanError(error)
      // That the database is away is told by the pulse; what lasts is worth a line.
      if (failures === 5)
        log.event('loop_failed', `what is paused could not be read: ${text}; it stays as it was`, {
          loop: 'pauses',
          class: errorClass,
          text,
        })
      return RETRY_MS
    },
  })

  return {
    isPaused: (task) => paused.has(task),
    reason,
    wake() {
      isAsked = true
      loop.wake()
    },
    told: (found, askedAt) => void take(found, askedAt, everyMs * TOLD_SHARE),
    tell: (listener) => void (onChange = listener),
    async stop() {
      await loop.stop()
      await words
    },
  }
}

/** One look after the other for tasks that no live instance has: said once each, for as long as that lasts. */
function orphanWatch(db: Queryable, instanceId: string, log: Log): () => Promise<void> {
  const said = new Set<string>()
  let before: ReadonlySet<string> = new Set()
  return async () => {
    const now = new Set(await orphanedTasks(db, instanceId))
    for (const task of now) {
      if (!before.has(task) || said.has(task)) continue
      said.add(task)
      const msg = `${task}: no live instance has it in its config, so nobody works it; what waits for it waits on`
      log.event('task_orphaned', msg, { task })
    }
    for (const task of said) if (!now.has(task)) said.delete(task)
    before = now
  }
}
