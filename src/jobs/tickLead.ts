import { cleanError } from '../telemetry/errorText.ts'
import { pause } from '../kit/pause.ts'
import { within } from '../kit/within.ts'
import type { Boss } from './boss.ts'
import { giveBack, selectUnfinished } from './jobRows.ts'
import { DatabaseClock, dueOf, keepDue, makeDue, makePassQueue, nextJob } from './passQueue.ts'
import type { Rhythm } from './rhythm.ts'
import type { DuePass } from './ticks.ts'
import { GIVE_BACK_LIMIT_MS, takeJob, type BossWorker, type HeldJob } from './workers.ts'

/*
 * Due passes as pg-boss jobs.
 *
 * Who owns the truth: the lease says who leads (elsewhere), the queue `poll.<poller>` says when the next pass is due,
 * and its policy `stately` that in the whole cluster at most one is queued and one active. The leader alone works the
 * queue. No tick is load-bearing: the lead expects a job at a time, and makes the pass itself when none comes.
 *
 *   begin ──▶ expecting ──job──▶ pass ──done: complete + send the next, one transaction──▶ expecting …
 *               │  └─ 3 s past its time ──▶ backstop pass ──done──▶ expecting …
 *               └─ signal aborts, at any moment ──▶ over: worker closed, what it holds given back
 *
 * - A job active when a lead begins belongs to a leader that is no more: given back, fenced by {id, retryCount}.
 *   Should that leader still live, its own complete, give-back and send meet the fence or the policy.
 * - Sending fails (the database is away): tried again at the time the job should have come; else the backstop. Until then
 *   the ended job is active and its worker waits, so that where the process dies the next leader makes the pass again.
 * - A pass by cron fails: the next job comes soon instead of at the next time, and the pass keeps its due time.
 * - The worker is dead, pg-boss stopped, its tables broken: the backstop goes on alone, at 3 s past each due time.
 * - Its tables are locked, and every statement hangs: the backstop waits for the queue no longer than QUEUE_LIMIT_MS.
 * - The process dies in a pass: its job stays active and keeps the queued one from being fetched, until the next
 *   leader clears it as above, or this one does in its backstop.
 * - A wish while a pass runs queues a job beside the active one; the pass's own send then finds the place taken.
 *
 * Times are the database's: each fetch brings one, and the monotonic clock carries it on.
 */

export interface LeadOptions {
  readonly boss: Boss
  /** The poller's queue. */
  readonly queue: string
  readonly rhythm: Rhythm
  /** How long after its time a job may come before the leader makes the pass itself. Default: 3 s. */
  readonly backstopMs?: number
}

/** The lead looks at the due time, and the whole instance every five seconds; a worker left to itself, in seconds. */
const LOOK_EVERY_S = 30
/** A job that is due and has not come is looked for again, in ms: clocks may differ by a little. */
const LOOK_AGAIN_MS = 500
/** A timer of Node is 32 bits of milliseconds; a cron's next time may be years away. */
const LONGEST_SLEEP_MS = 3_600_000
/** Looking at the very instant of the due time would find nothing for a clock's rounding, in ms. */
const LOOK_AFTER_DUE_MS = 10
/** How long a job that the worker has fetched may take to arrive from there, in ms. */
const ARRIVAL_MS = 250
/** How long a pass waits for its queue: with the 3 s of the backstop it still begins within 4 s of its time. */
const QUEUE_LIMIT_MS = 500

/** One leadership, from its first `next` to the abort of its signal. */
export class Lead {
  readonly #boss: Boss
  readonly #queue: string
  readonly #rhythm: Rhythm
  readonly #backstopMs: number
  #worker: BossWorker | undefined
  /** Brought by the worker, not yet a pass. */
  #arrived: { job: HeldJob; settle: () => void } | undefined
  #byHand: HeldJob | undefined
  #pass: DuePass | undefined
  readonly #clock = new DatabaseClock()
  /** When the next job should come, by the database's clock in ms. */
  #expected = Date.now()
  #looked = false
  /** How the last pass ends, which the queue could not be told yet, and the handlers that wait for that. */
  #untold: (() => Promise<void>) | undefined
  #waiting: (() => void)[] = []
  /** Failed passes in a row. */
  #failures = 0
  #demanded = false
  #over = false
  /** The last failure that was logged; forgotten when jobs come again. */
  #said = ''
  #rouse = new AbortController()

  constructor({ boss, queue, rhythm, backstopMs = 3_000 }: LeadOptions) {
    this.#boss = boss
    this.#queue = queue
    this.#rhythm = rhythm
    this.#backstopMs = backstopMs
  }

  /** Clears what a former leader left, makes the next pass due (now, or at the time that is queued), starts the worker. */
  async begin(): Promise<void> {
    let queued: number | undefined
    await this.#attempt(async () => {
      await makePassQueue(this.#boss, this.#queue)
      await this.#clear()
      // One by cron keeps its time, past or to come: a missed one is made up for.
      if (this.#rhythm.atOnce) await makeDue(this.#boss, this.#queue)
      else queued = await keepDue(this.#boss, this.#queue, this.#rhythm, this.#clock.now())
    })
    // By the database's clock, if it was heard: this process's own may be an hour off.
    const now = this.#clock.now()
    this.#expect(Math.max(queued ?? (this.#rhythm.atOnce ? now : this.#rhythm.next(now, now)), now))
    await this.#attempt(() => this.#work())
  }

  async next(): Promise<DuePass | undefined> {
    // A poller that threw away its last pass has not ended it.
    await this.#pass?.done({ ok: false })
    while (!this.#over) {
      if (this.#arrived !== undefined) return this.#jobPass(this.#arrived)
      const late = this.#clock.now() - this.#expected
      if (late >= this.#backstopMs) return this.#backstopPass()
      if (late >= LOOK_AFTER_DUE_MS && !this.#looked) await this.#look()
      else if (!this.#looked) await this.#sleep(Math.min(LOOK_AFTER_DUE_MS - late, LONGEST_SLEEP_MS))
      else await this.#lookAgain(late)
    }
    return undefined
  }

  demand(): void {
    this.#demanded = true
    if (this.#pass === undefined) this.#expect(Math.min(this.#expected, this.#clock.now()))
    void this.#attempt(() => makeDue(this.#boss, this.#queue)).then(() => {
      this.#worker?.wake()
    })
  }

  async end(): Promise<void> {
    this.#over = true
    this.#rouse.abort()
    this.#boss.noteTick(this.#queue, undefined)
    await this.#attempt(async () => {
      await this.#worker?.close(0)
      await this.#giveBackByHand()
    })
  }

  #jobPass({ job, settle }: { job: HeldJob; settle: () => void }): DuePass {
    this.#arrived = undefined
    this.#said = ''
    this.#boss.noteTick(this.#queue, 'job')
    return this.#begun(this.#demanded ? 'demand' : 'job', dueOf(job), job, settle)
  }

  async #backstopPass(): Promise<DuePass | undefined> {
    const due = this.#expected
    this.#boss.noteTick(this.#queue, 'backstop')
    await this.#inTime(async (isLate) => {
      await this.#clear(isLate)
      if (isLate()) return
      await makeDue(this.#boss, this.#queue)
      if (isLate()) return
      // By our own hand: the pass then ends its job like any other, and no second one follows when workers are back.
      const job = await takeJob(this.#boss.pg, this.#queue)
      if (!isLate()) this.#byHand = job
      else if (job !== undefined) await giveBack(this.#boss.pool, job)
    })
    // A worker that lives may have been quicker; what it fetched is on its way.
    const quicker = this.#byHand === undefined && this.#worker?.trouble() === undefined
    if (quicker && this.#arrived === undefined) await this.#sleep(ARRIVAL_MS)
    if (this.#over) {
      // The lead ended meanwhile, and its end found nothing to give back yet.
      await this.#giveBackByHand()
      return undefined
    }
    // Not waited for: closing a worker that is stuck takes longer than the pass may be late.
    void this.#attempt(() => this.#work())
    const brought = this.#arrived
    if (brought === undefined)
      return this.#begun('backstop', due, this.#byHand, () => (this.#byHand = undefined))
    this.#arrived = undefined
    return this.#begun('backstop', due, brought.job, brought.settle)
  }

  #begun(cause: DuePass['cause'], due: number, job: HeldJob | undefined, settle: () => void): DuePass {
    this.#demanded = false
    const passed = (): number => this.#rhythm.between(due, this.#clock.now())
    const missed = passed()
    const pass: DuePass = {
      missed,
      coalesced: () => passed() - missed,
      dueAt: new Date(Date.now() - (this.#clock.now() - due)),
      cause,
      done: async ({ ok }) => {
        if (this.#pass !== pass) return
        this.#pass = undefined
        // The lead's end gave the job back: the next leader makes this pass again.
        if (this.#over) return
        const now = this.#clock.now()
        this.#failures = ok ? 0 : this.#failures + 1
        const { time, ...next } = nextJob(this.#rhythm, { due, now, failures: this.#failures })
        const failure = ok ? undefined : new Error('the pass failed: service_ops.poll_run says why')
        this.#untold = () => this.#boss.finish(job, { queue: this.#queue, ...next }, failure)
        this.#waiting.push(settle)
        await this.#attempt(() => this.#tell())
        this.#expect(this.#demanded ? now : time)
      },
    }
    this.#pass = pass
    return pass
  }

  /** Gives back what is active in the queue: a lead that looks here holds nothing, so its worker is dead. */
  async #clear(isLate = () => false): Promise<void> {
    const { now, jobs } = await selectUnfinished(this.#boss.pool, this.#queue)
    // What is active by now may be the job of a pass under way.
    if (isLate()) return
    this.#clock.set(now)
    for (const { id, retryCount, state } of jobs) {
      if (state === 'active') await giveBack(this.#boss.pool, { queue: this.#queue, id, retryCount })
    }
    this.#letGo()
  }

  /** Ends the job of the last pass and sends the next, in one transaction; only then may pg-boss see its handler end. */
  async #tell(): Promise<void> {
    const untold = this.#untold
    await untold?.()
    if (this.#untold === untold) this.#letGo()
  }

  #letGo(): void {
    this.#untold = undefined
    for (const settle of this.#waiting.splice(0)) settle()
  }

  async #giveBackByHand(): Promise<void> {
    const job = this.#byHand
    this.#byHand = undefined
    if (job !== undefined) await within(GIVE_BACK_LIMIT_MS, giveBack(this.#boss.pool, job))
  }

  /** At the due time: the worker looks now instead of at its next turn. */
  async #look(): Promise<void> {
    this.#looked = true
    if (this.#untold !== undefined) await this.#inTime(() => this.#tell())
    this.#worker?.wake()
  }

  async #lookAgain(late: number): Promise<void> {
    await this.#sleep(Math.min(LOOK_AGAIN_MS, this.#backstopMs - late))
    if (this.#arrived === undefined) this.#worker?.wake()
  }

  async #work(): Promise<void> {
    const former = this.#worker
    if (former !== undefined && former.trouble() === undefined) return
    this.#worker = undefined
    await former?.close(0)
    const worker = await this.#boss.work(this.#queue, { pollingIntervalSeconds: LOOK_EVERY_S }, (job) => {
      const settled = Promise.withResolvers<undefined>()
      this.#clock.set(job.fetchedAt)
      this.#arrived = { job, settle: () => settled.resolve(undefined) }
      this.#rouse.abort()
      return settled.promise
    })
    this.#worker = worker
    // The lead may have ended while the worker was being made.
    if (this.#over) await worker.close(0)
  }

  /**
   * Waits for a step no longer than a pass may wait: a queue can hang (a lock on its table) as well as fail. The step
   * goes on, and leaves the rest undone when it finds itself late. False: it failed, or is late.
   */
  async #inTime(step: (isLate: () => boolean) => Promise<void>): Promise<boolean> {
    let late = false
    let worked = false
    const attempt = this.#attempt(() => step(() => late)).then((ok) => (worked = ok))
    late = !(await within(QUEUE_LIMIT_MS, attempt))
    return !late && worked
  }

  /** The queue never stops a lead: what fails is said once, and the level is looked at again later. */
  async #attempt(step: () => Promise<void>): Promise<boolean> {
    try {
      await step()
      return true
    } catch (error) {
      const clean = cleanError(error)
      if (clean.text === this.#said) return false
      this.#said = clean.text
      const what = `the queue ${this.#queue} could not be used; its leader makes the passes itself`
      this.#boss.log.event('loop_failed', what, { loop: this.#queue, ...clean })
      return false
    }
  }

  #expect(time: number): void {
    this.#expected = time
    this.#looked = false
    this.#rouse.abort()
  }

  async #sleep(ms: number): Promise<void> {
    this.#rouse = new AbortController()
    await pause(Math.max(1, ms), this.#rouse.signal)
  }
}
