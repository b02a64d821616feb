/**
 * A seeded random schedule of writers and pollers on real connections.
 *
 * What is to be shown: whatever writers do and whoever leads, everything with a time below the edge is in the inbox,
 * nothing is in the inbox that was not committed, and edge, term and pass never go back. The faults that break this
 * are all of one kind, an unlucky order of single statements, so the order is what is drawn at random:
 *
 *   - One scheduler sends one message at a time and looks at the database after each. Nothing runs by itself.
 *   - A message may have to wait for a lock. It stays under way, the scheduler goes on with the others, and knows (from
 *     pg_locks, not from a clock) that it waits. So a seed makes the same decisions on any machine.
 *   - *Writers* are sessions of two roles, one that the pollers may look into and one that they may not. Their rows
 *     bear the time of their transaction's start. Gates (advisory locks) hold up messages of several statements and
 *     slow commits for as long as the schedule likes. Prepared transactions are settled long after, by somebody else.
 *   - *Pollers* run the product's own statements. All takeovers are forced, on evidence of a death that did not
 *     happen, so the ousted always live on; statements are stretched into transactions, their answers lost, and
 *     packets of former passes arrive late, often while somebody else holds the row. Each page is read in any of the ways
 *     there are, wherever it is: each must be right anywhere.
 *   - Tails are read beside all that, by leaders and by those who were: they may come at any moment.
 *   - A *bystander* holds the row lock of the watermark now and then: statements wait for it and wake with a fresh row
 *     and an old snapshot.
 *
 * Slack is 0, so that nothing but the proof itself protects the rows. At the end writers finish, and a few quiet
 * passes must bring every row into the inbox and the edge beyond the newest.
 */
import { loadStatements } from '../../src/db/statements.ts'
import { WATERMARK_STATEMENTS } from '../../src/tables/watermark.ts'
import { Invariants, Violation } from './invariants.ts'
import type { Look } from './invariants.ts'
import { Poller } from './poller.ts'
import { Random } from './random.ts'
import { settle } from './session.ts'
import type { Session } from './session.ts'
import { PAGE_SIZES, Texts } from './strategy.ts'
import type { Strategy } from './strategy.ts'
import { Writer } from './writer.ts'
import { ID_TYPES, POLLER } from './world.ts'
import type { World } from './world.ts'

const WRITERS = 6
const POLLERS = 3
const STEPS = 400
/** How often a step comes after the announcement of an insert, from 0 to 1. */
const TAILS = 0.15
/**
 * A few quiet passes are enough. One more is needed now and then: while another database of a shared server commits a
 * prepared transaction, its lock is there for an instant without its entry in pg_prepared_xacts, and holds the edge.
 */
const QUIET_LIMIT_MS = 60_000

export interface Sessions {
  readonly writers: readonly Session[]
  readonly pollers: readonly (readonly [main: Session, late: Session])[]
  readonly bystander: Session
}

export interface Outcome {
  readonly seed: number
  readonly steps: number
  readonly rows: number
  readonly taken: number
  readonly takeovers: number
  readonly refused: number
  readonly closed: number
  readonly pages: number
  readonly edgeMoves: number
}

/** The connections of all schedules in one world; they are used again for each seed. */
export async function openSessions(world: World): Promise<Sessions> {
  const writers: Session[] = []
  for (let i = 0; i < WRITERS; i += 1) writers.push(await world.session(`writer ${i}`, roleOf(i)))
  const pollers: [Session, Session][] = []
  for (let i = 0; i < POLLERS; i += 1) {
    pollers.push([
      await world.session(`poller ${i}`, 'seen'),
      await world.session(`poller ${i}, late`, 'seen'),
    ])
  }
  return { writers, pollers, bystander: await world.session('bystander', 'seen') }
}

const roleOf = (writer: number): 'seen' | 'unseen' => (writer % 2 === 0 ? 'seen' : 'unseen')

/** Plays the schedule of one seed; throws {@link Violation}. `say` hears of every step. */
export async function play(
  world: World,
  sessions: Sessions,
  seed: number,
  strategy: Strategy,
  say: (line: string) => void = () => undefined,
): Promise<Outcome> {
  await world.empty()
  const schedule = await Schedule.prepare(world, sessions, seed, strategy, say)
  try {
    for (let step = 0; step < STEPS; step += 1) await schedule.step()
    await schedule.finish()
    return await schedule.quiet()
  } finally {
    await schedule.abandon()
  }
}

class Schedule {
  readonly #world: World
  readonly #all: readonly Session[]
  readonly #bystander: Session
  readonly #random: Random
  /** Of its own, so that schedules that were known before there were tails stay as they are, but for these. */
  readonly #tails: Random
  readonly #invariants: Invariants
  readonly #say: (line: string) => void
  readonly #gates: number[] = []
  readonly #counts = { takeovers: 0, refused: 0, closed: 0, pages: 0 }
  readonly #seed: number
  /** How often a late packet arrives, beside 46 messages of writers. Like everything else, it differs by seed. */
  readonly #late: number
  #writers: Writer[] = []
  #pollers: Poller[] = []
  #holdsRow = false
  #steps = 0
  #gids = 0

  static async prepare(
    world: World,
    sessions: Sessions,
    seed: number,
    strategy: Strategy,
    say: (line: string) => void,
  ): Promise<Schedule> {
    const idType = ID_TYPES[seed % ID_TYPES.length] ?? 'bigint'
    const schedule = new Schedule(world, sessions, seed, world.table(idType), say)
    const random = schedule.#random
    const source = await world.source(idType)
    const texts = new Texts()
    texts.replace(loadStatements('watermark', WATERMARK_STATEMENTS).begin, strategy.begin)
    texts.replacePages(source, strategy.page)
    texts.replace(source.tail.text, strategy.tail)
    const prepared: { gid: string; role: 'seen' | 'unseen' }[] = []
    const shore = {
      table: world.table(idType),
      random,
      messages: random.pick([8, 18, 50]),
      gates: schedule.#gates,
      prepared,
      closeGate: () => world.closeGate(),
      nextGid: () => `${world.name} ${seed} ${(schedule.#gids += 1)}`,
    }
    schedule.#writers = sessions.writers.map((session, i) => new Writer(session, roleOf(i), shore))
    const crew = {
      source,
      texts,
      random,
      pageSize: random.between(...PAGE_SIZES),
      slackMs: 0,
      slow: random.pick([0.1, 0.3, 0.6]),
      merged: strategy.merged === true,
      counts: schedule.#counts,
      leader: () => world.leader(),
    }
    schedule.#pollers = sessions.pollers.map(([main, late]) => new Poller(main, late, crew))
    return schedule
  }

  private constructor(
    world: World,
    sessions: Sessions,
    seed: number,
    table: string,
    say: (line: string) => void,
  ) {
    this.#world = world
    this.#seed = seed
    this.#random = new Random(seed)
    this.#tails = new Random(-seed)
    this.#late = this.#random.pick([3, 8, 20])
    this.#say = say
    this.#bystander = sessions.bystander
    this.#all = [...sessions.writers, ...sessions.pollers.flat(), sessions.bystander]
    this.#invariants = new Invariants(world.admin, table)
  }

  async step(): Promise<void> {
    await this.#mayReadTail()
    const kind = this.#random.weighted({
      writer: 46,
      poller: 40,
      late: this.#late,
      gate: this.#gates.length > 0 ? 10 : 0,
      bystander: this.#holdsRow ? 12 : 4,
    })
    const [name, done] = await this.#act(kind)
    await this.#look(`${name}: ${done}`)
  }

  async #mayReadTail(): Promise<void> {
    if (!this.#tails.chance(TAILS)) return
    const poller = this.#tails.pick(this.#pollers.filter((one) => !one.late.busy))
    const done = poller?.readTail(this.#tails.chance(0.2))
    if (poller !== undefined && done !== undefined) await this.#look(`${poller.late.name}: ${done}`)
  }

  /** Everybody ends what they have begun; gates and row are given free first, so that nothing waits for ever. */
  async finish(): Promise<void> {
    for (;;) {
      const gate = this.#gates.shift()
      if (gate !== undefined) {
        await this.#world.openGate(gate)
        await this.#look(`gate ${gate} opens`)
        continue
      }
      let active = this.#all.some((session) => session.busy)
      for (const one of [...this.#pollers, ...this.#writers]) {
        if (one.session.busy) continue
        const done = one.finish()
        if (done === undefined) continue
        active = true
        await this.#look(`${one.session.name}: ${done}`)
      }
      if (this.#holdsRow && !this.#bystander.busy) {
        active = true
        await this.#look(`bystander: ${this.#lockOrUnlock()}`)
      }
      if (!active) return
      await this.#look('waits')
    }
  }

  /** Quiet passes of one poller, until the edge is beyond the newest row: then, by the invariant, all is taken in. */
  async quiet(): Promise<Outcome> {
    const deadline = performance.now() + QUIET_LIMIT_MS
    const [poller] = this.#pollers
    for (;;) {
      await poller?.quietPass()
      const look = await this.#look('a quiet pass')
      if (look?.beyond === true) {
        const { edgeMoves } = this.#invariants
        return {
          seed: this.#seed,
          steps: this.#steps,
          ...this.#counts,
          edgeMoves,
          rows: look.rows,
          taken: look.taken,
        }
      }
      if (performance.now() > deadline)
        throw new Violation('stuck', `the edge does not move on: ${look?.edge ?? 'no edge'}`)
    }
  }

  /** Whatever happened, the next schedule finds sessions without transactions and a server without prepared ones. */
  async abandon(): Promise<void> {
    for (const gate of this.#gates.splice(0)) await this.#world.openGate(gate)
    await Promise.all(
      this.#all.map(async (session) => {
        await session.settled
        session.send('ROLLBACK')
        await session.settled
      }),
    )
    await this.#world.rollBackPrepared()
  }

  async #act(kind: 'writer' | 'poller' | 'late' | 'gate' | 'bystander'): Promise<readonly [string, string]> {
    switch (kind) {
      case 'writer': {
        const writer = this.#random.pick(this.#writers.filter((one) => !one.session.busy))
        return writer === undefined ? ['writers', 'all wait'] : [writer.session.name, await writer.act()]
      }
      case 'poller': {
        // Mostly one that believes it leads: the others only look on.
        const free = this.#pollers.filter((one) => !one.session.busy)
        const leaders = free.filter((one) => one.leads)
        const poller = this.#random.pick(leaders.length > 0 && this.#random.chance(0.7) ? leaders : free)
        return poller === undefined ? ['pollers', 'all wait'] : [poller.session.name, await poller.act()]
      }
      case 'late': {
        const poller = this.#random.pick(this.#pollers.filter((one) => !one.late.busy))
        return poller === undefined
          ? ['pollers', 'all wait']
          : [poller.late.name, poller.actLate() ?? 'nothing']
      }
      case 'gate': {
        const [gate] = this.#gates.splice(this.#random.between(0, this.#gates.length - 1), 1)
        if (gate !== undefined) await this.#world.openGate(gate)
        return [`gate ${gate ?? ''}`, 'opens']
      }
      case 'bystander':
        return ['bystander', this.#bystander.busy ? 'waits' : this.#lockOrUnlock()]
    }
  }

  #lockOrUnlock(): string {
    this.#holdsRow = !this.#holdsRow
    const lock = `BEGIN; SELECT FROM service_ops.integration_poll_watermark WHERE poller = '${POLLER}' FOR UPDATE`
    this.#bystander.send(this.#holdsRow ? lock : 'COMMIT')
    return this.#holdsRow ? 'locks the row' : 'lets the row go'
  }

  async #look(done: string): Promise<Look | undefined> {
    this.#steps += 1
    await settle(this.#world.admin, this.#all)
    const waiting = this.#all.filter((session) => session.waits).map((session) => session.name)
    const look = await this.#invariants.check()
    const waits = waiting.length > 0 ? ` (waiting: ${waiting.join(', ')})` : ''
    this.#say(
      `${this.#steps} ${done}${waits} [${look?.edge ?? 'no edge'}, ${look?.taken ?? 0}/${look?.rows ?? 0}]`,
    )
    return look
  }
}
