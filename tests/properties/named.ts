/** What the named schedules share: one table, one poller that does as it is told, sessions stepped by hand. */
import { randomUUID } from 'node:crypto'
import { loadStatements } from '../../src/db/statements.ts'
import type { PreparedSource } from '../../src/ingest/sourceSql.ts'
import { takeOver } from '../../src/tables/leader.ts'
import { beginPass, readPage, WATERMARK_STATEMENTS } from '../../src/tables/watermark.ts'
import type { PageRead, PassBegun, PassFence } from '../../src/tables/watermark.ts'
import { Invariants, Violation } from './invariants.ts'
import type { Look } from './invariants.ts'
import { settle } from './session.ts'
import type { Session } from './session.ts'
import { Texts } from './strategy.ts'
import type { Strategy } from './strategy.ts'
import { POLLER } from './world.ts'
import type { Role, World } from './world.ts'

const LEASE_MS = 3_600_000
const PAGE_SIZE = 5
/** The second one takes everything in, unless something holds the edge: so many show that on the slowest machine, too. */
const ENOUGH_PASSES = 10

export class Stage {
  readonly world: World
  readonly poller: Session
  readonly source: PreparedSource
  slackMs = 0
  /** What a begin is told of the pass before; see beginPass. */
  sinceMs = 0
  begunMs: number | undefined
  readonly #texts: Texts
  readonly #invariants: Invariants
  readonly #sessions: Session[] = []

  private constructor(world: World, poller: Session, source: PreparedSource, texts: Texts) {
    this.world = world
    this.poller = poller
    this.source = source
    this.#texts = texts
    this.#invariants = new Invariants(world.admin, world.table('bigint'))
  }

  static async set(world: World, strategy: Strategy = {}): Promise<Stage> {
    await world.empty()
    return Stage.resume(world, strategy)
  }

  /** The same in a world that goes on from where it was. */
  static async resume(world: World, strategy: Strategy = {}): Promise<Stage> {
    const texts = new Texts()
    const source = await world.source('bigint')
    texts.replace(loadStatements('watermark', WATERMARK_STATEMENTS).begin, strategy.begin)
    texts.replacePages(source, strategy.page)
    return new Stage(world, await world.session('poller', 'seen'), source, texts)
  }

  async session(name: string, role: Role = 'seen'): Promise<Session> {
    const session = await this.world.session(name, role)
    this.#sessions.push(session)
    return session
  }

  /** Waits until every session's statement has ended or waits for a lock. */
  async settle(): Promise<void> {
    await settle(this.world.admin, [this.poller, ...this.#sessions])
  }

  /** Throws Violation when a row below the edge is missing, one was made up, or anything went back. */
  async look(): Promise<Look> {
    const look = await this.#invariants.check()
    if (look === undefined) throw new Error('there is no watermark yet')
    return look
  }

  insert(gate?: number): string {
    return `INSERT INTO ${this.world.table('bigint')} (gate) VALUES (${gate ?? 'NULL'})`
  }

  /** Takes the lead from whoever has it. */
  async lead(): Promise<PassFence> {
    const me = { holder: randomUUID(), instanceId: 'named' }
    const won = await takeOver(this.poller.client, POLLER, me, LEASE_MS, await this.world.leader())
    if (won?.pass == null) throw new Error('the takeover failed')
    return { poller: POLLER, holder: me.holder, term: won.term, pass: won.pass }
  }

  begin(fence: PassFence, session = this.poller): Promise<PassBegun | undefined> {
    const { slackMs, sinceMs, begunMs, source } = this
    return beginPass(this.#texts.through(session.client), fence, slackMs, sinceMs, begunMs, source.window)
  }

  page(fence: PassFence, session = this.poller): Promise<PageRead | undefined> {
    return readPage(this.#texts.through(session.client), this.source.page, fence, PAGE_SIZE, 3, null)
  }

  /** One whole pass; returns the fence after it, and whether it could move the edge. */
  async pass(fence: PassFence): Promise<PassFence & { closed: boolean }> {
    const begun = await this.begin(fence)
    if (begun === undefined) throw new Error('refused')
    const now = { ...fence, pass: begun.pass }
    for (;;) {
      const page = await this.page(now)
      if (page === undefined) throw new Error('refused')
      if (!page.more) return { ...now, closed: begun.closed }
    }
  }

  /**
   * Passes until the edge is beyond the newest row: then, by the invariant, every row is in the inbox. Throws Violation
   * when it has not come so far by the limit, nor after ten passes.
   */
  async everythingIsTakenIn(fence: PassFence, limitMs = 60_000): Promise<Look> {
    const deadline = performance.now() + limitMs
    let now = fence
    for (let passes = 1; ; passes += 1) {
      now = await this.pass(now)
      const look = await this.look()
      if (look.beyond) return look
      if (performance.now() > deadline && passes >= ENOUGH_PASSES)
        throw new Violation('stuck', `the edge does not move on: ${look.edge}`)
    }
  }
}
