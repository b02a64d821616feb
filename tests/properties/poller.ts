import { randomUUID } from 'node:crypto'
import type { Queryable } from '../../src/db/pool.ts'
import type { PreparedSource } from '../../src/ingest/sourceSql.ts'
import { takeOver } from '../../src/tables/leader.ts'
import type { Leadership } from '../../src/tables/leader.ts'
import { beginPass, readPage } from '../../src/tables/watermark.ts'
import { readTail } from '../../src/tables/tail.ts'
import type { PageRead, PassBegun, PassFence } from '../../src/tables/watermark.ts'
import type { Random } from './random.ts'
import type { Session } from './session.ts'
import type { Texts } from './strategy.ts'
import { POLLER } from './world.ts'

/** What pollers share. */
export interface Crew {
  readonly source: PreparedSource
  readonly texts: Texts
  readonly random: Random
  readonly pageSize: number
  readonly slackMs: number
  readonly merged: boolean
  /** How often a statement is stretched over several steps, from 0 to 1. */
  readonly slow: number
  readonly counts: { takeovers: number; refused: number; closed: number; pages: number }
  /** Who leads now, as evidence of a death that did not happen. */
  leader(): Promise<{ holder: string; term: string } | undefined>
}

/** An hour: no lease runs out by itself here, every takeover is forced. */
const LEASE_MS = 3_600_000
const MAX_ATTEMPTS = 3

/**
 * One instance that would lead. It knows only what its statements answered: when it was ousted it does not notice,
 * and goes on as a living zombie until a refusal tells it, and often beyond.
 *
 * `late` is its second connection: on it arrive statements that were sent long ago (a packet that was held up, a
 * client that gave up waiting and reconnected while the server went on).
 */
export class Poller {
  readonly session: Session
  readonly late: Session
  readonly #me = { holder: randomUUID(), instanceId: 'poller' }
  readonly #crew: Crew
  #fence: PassFence | undefined
  #former: PassFence | undefined
  #inPass = false
  /** A transaction that stretches one statement over several steps, and what remains of it. */
  #rest: (() => string)[] = []

  constructor(session: Session, late: Session, crew: Crew) {
    this.session = session
    this.late = late
    this.#crew = crew
  }

  /** It believes so. */
  get leads(): boolean {
    return this.#fence !== undefined
  }

  /** Sends the next statement, chosen by the seed; returns what it was. */
  async act(): Promise<string> {
    const { random } = this.#crew
    if (this.#rest.length > 0 && random.chance(0.4)) return 'is held up'
    const next = this.#rest.shift()
    if (next !== undefined) return next()
    if (this.#fence === undefined) return random.chance(0.15) ? this.#standForElection() : 'looks on'
    if (random.chance(0.03)) {
      this.#fence = undefined
      return 'steps down without a word'
    }
    return this.#inPass ? this.#page(this.#fence) : this.#begin(this.#fence)
  }

  /** A statement of the pass before this one arrives, or one that was sent twice. */
  actLate(): string | undefined {
    const present = this.#rest.length > 0 || this.#crew.random.chance(0.4)
    const fence = present ? this.#fence : this.#former
    if (fence === undefined) return undefined
    this.late.start((db) => this.#readPage(db, fence))
    return `a late page of pass ${fence.pass}`
  }

  /** The tail is read beside whatever else is under way, by what this poller knows or by what it knew before. */
  readTail(isFormer: boolean): string | undefined {
    const { texts, source } = this.#crew
    const fence = isFormer ? this.#former : this.#fence
    if (fence === undefined) return undefined
    this.late.start(async (db) => {
      await readTail(texts.through(db), source.tail, fence, MAX_ATTEMPTS)
    })
    return `the tail, in pass ${fence.pass}`
  }

  /** Ends a stretched statement; undefined when there is none. */
  finish(): string | undefined {
    return this.#rest.shift()?.()
  }

  /** Takes the lead and makes one whole pass, with nobody else about. */
  async quietPass(): Promise<void> {
    const { session } = this
    session.start((db) => this.#takeOver(db, undefined))
    await session.settled
    const fence = this.#fence
    if (fence === undefined) {
      const leader = await this.#crew.leader()
      session.start((db) => this.#takeOver(db, leader))
      await session.settled
    }
    if (this.#fence !== undefined) session.start(this.#beginning(this.#fence))
    await session.settled
    while (this.#inPass && this.#fence !== undefined) {
      const present = this.#fence
      session.start(
        (db) => this.#readPage(db, present),
        (page) => this.#hasRead(page, present),
      )
      await session.settled
      session.check()
    }
    session.check()
  }

  async #standForElection(): Promise<string> {
    const dead = await this.#crew.leader()
    if (!this.#crew.random.chance(this.#crew.slow)) {
      this.session.start((db) => this.#takeOver(db, dead))
      return 'takes over'
    }
    this.#stretch(
      'BEGIN',
      (db) => takeOver(this.#through(db), POLLER, this.#me, LEASE_MS, dead),
      this.#hasTakenOver,
    )
    return 'takes over, slowly'
  }

  #begin(fence: PassFence): string {
    const { random, merged, slow } = this.#crew
    if (merged) {
      this.#stretch(
        'BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM pg_catalog.pg_class LIMIT 1',
        async (db) => {
          // Where one snapshot cannot be kept, PostgreSQL refuses (40001), and the COMMIT below rolls back.
          const begun = await this.#beginPass(db, fence).catch(() => undefined)
          const page = begun && (await this.#readPage(db, { ...fence, pass: begun.pass }))
          return { begun, page }
        },
        ({ begun, page }) => {
          this.#hasBegun(begun, fence)
          if (begun !== undefined) this.#hasRead(page, { ...fence, pass: begun.pass })
        },
      )
      return 'begins and reads on one snapshot'
    }
    if (!random.chance(slow)) {
      this.session.start(this.#beginning(fence))
      return `begins after pass ${fence.pass}`
    }
    // The one statement as it is when the processor takes it off the core between its row lock and its look at pg_locks.
    const lock = `SELECT FROM service_ops.integration_poll_watermark WHERE poller = '${POLLER}' FOR UPDATE`
    this.#stretch(
      `BEGIN; ${lock}`,
      (db) => this.#beginPass(db, fence),
      (begun) => this.#hasBegun(begun, fence),
    )
    return `begins after pass ${fence.pass}, slowly`
  }

  #page(fence: PassFence): string {
    const done = (page: PageRead | undefined): void => this.#hasRead(page, fence)
    if (!this.#crew.random.chance(this.#crew.slow / 2)) {
      this.session.start((db) => this.#readPage(db, fence), done)
      return `page of pass ${fence.pass}`
    }
    this.#stretch('BEGIN', (db) => this.#readPage(db, fence), done)
    return `page of pass ${fence.pass}, slowly`
  }

  /** Opens a transaction now; the statement and its COMMIT are steps of their own. Sometimes the answer is lost. */
  #stretch<T>(open: string, statement: (db: Queryable) => Promise<T>, done: (result: T) => void): void {
    const { session } = this
    const { random } = this.#crew
    let result: { value: T } | undefined
    session.send(open)
    this.#rest = [
      () => {
        session.start(statement, (value) => {
          result = { value }
        })
        return 'the slow statement'
      },
      () => {
        const fate = random.weighted({ committed: 75, answerLost: 15, connectionLost: 10 })
        session.send(fate === 'connectionLost' ? 'ROLLBACK' : 'COMMIT', () => {
          if (fate === 'committed' && result !== undefined) done(result.value)
        })
        return `the slow statement is over: ${fate}`
      },
    ]
  }

  #beginning(fence: PassFence): (db: Queryable) => Promise<void> {
    return async (db) => this.#hasBegun(await this.#beginPass(db, fence), fence)
  }

  #through(db: Queryable): Queryable {
    return this.#crew.texts.through(db)
  }

  #beginPass(db: Queryable, fence: PassFence): Promise<PassBegun | undefined> {
    const { slackMs, source } = this.#crew
    return beginPass(this.#through(db), fence, slackMs, 0, undefined, source.window)
  }

  #readPage(db: Queryable, fence: PassFence): Promise<PageRead | undefined> {
    const { source, pageSize, random, merged } = this.#crew
    const way = merged ? 'page' : random.weighted({ page: 40, ahead: 20, skim: 40 })
    const reach = way === 'skim' ? random.between(1, 4 * pageSize) : undefined
    const page = way === 'ahead' ? source.ahead(pageSize) : source[way]
    return readPage(this.#through(db), page, fence, pageSize, MAX_ATTEMPTS, null, reach)
  }

  async #takeOver(db: Queryable, dead: { holder: string; term: string } | undefined): Promise<void> {
    this.#hasTakenOver(await takeOver(this.#through(db), POLLER, this.#me, LEASE_MS, dead))
  }

  readonly #hasTakenOver = (won: Leadership | undefined): void => {
    if (won?.pass == null) return
    this.#crew.counts.takeovers += 1
    this.#former = this.#fence
    this.#fence = { poller: POLLER, holder: this.#me.holder, term: won.term, pass: won.pass }
    this.#inPass = false
  }

  #hasBegun(begun: PassBegun | undefined, fence: PassFence): void {
    if (begun === undefined) {
      this.#refused()
      return
    }
    if (begun.closed) this.#crew.counts.closed += 1
    this.#former = fence
    this.#fence = { ...fence, pass: begun.pass }
    this.#inPass = true
  }

  #hasRead(page: PageRead | undefined, fence: PassFence): void {
    if (page === undefined) {
      this.#refused()
      return
    }
    this.#crew.counts.pages += 1
    if (this.#fence?.pass === fence.pass) this.#inPass = page.more
  }

  /** Half of them understand. The rest are zombies: they go on with what they know. */
  #refused(): void {
    this.#crew.counts.refused += 1
    if (this.#crew.random.chance(0.5)) this.#fence = undefined
    else this.#inPass = this.#crew.random.chance(0.5)
  }
}
