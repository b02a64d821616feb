import type { Random } from './random.ts'
import type { Session } from './session.ts'
import type { Role } from './world.ts'

/** What writers share: the table, the gates that hold them up, and transactions that were prepared and left. */
export interface Shore {
  readonly table: string
  readonly random: Random
  /** How often a session sends two transactions in one message, beside 55 for a BEGIN. */
  readonly messages: number
  /** Gates that are closed and that somebody waits at, or will. */
  readonly gates: number[]
  readonly prepared: { gid: string; role: Role }[]
  closeGate(): Promise<number>
  nextGid(): string
}

/** More would fill the server's max_prepared_transactions, which other tests use too. */
const MAX_PREPARED = 4
/** A transaction that grows for ever makes passes long and shows nothing new. */
const MAX_STATEMENTS = 6

/**
 * Somebody else's session: it writes rows whose time is the start of its transaction, and ends its transactions in
 * every way there is, mostly late. Each call of `act` sends one message.
 */
export class Writer {
  readonly session: Session
  readonly role: Role
  readonly #shore: Shore
  #open = false
  #savepoint = false
  #statements = 0

  constructor(session: Session, role: Role, shore: Shore) {
    this.session = session
    this.role = role
    this.#shore = shore
  }

  /** Sends the next message, chosen by the seed; returns what it was. */
  async act(): Promise<string> {
    return this.#open ? this.#inTransaction() : this.#between()
  }

  /** Ends what is open, one message at a time; undefined when nothing is. */
  finish(): string | undefined {
    if (!this.#open) return this.#settlePrepared()
    return this.#shore.random.chance(0.8) ? this.#end('COMMIT') : this.#end('ROLLBACK')
  }

  async #between(): Promise<string> {
    const { random, prepared, messages } = this.#shore
    const kind = random.weighted({
      begin: 55,
      autocommit: 12,
      message: this.role === 'seen' ? messages : 0,
      settle: prepared.length > 0 ? 30 : 0,
      rest: 5,
    })
    if (kind === 'begin') return this.#begin()
    if (kind === 'autocommit') return this.#send(this.#insert())
    if (kind === 'message') return this.#twoInOneMessage()
    if (kind === 'settle') return this.#settlePrepared() ?? 'rest'
    return 'rest'
  }

  async #inTransaction(): Promise<string> {
    const { random, prepared } = this.#shore
    const tired = this.#statements > MAX_STATEMENTS
    const kind = random.weighted({
      insert: tired ? 0 : 40,
      gatedInsert: tired ? 0 : 6,
      savepoint: tired ? 0 : this.#savepoint ? 2 : 10,
      rollbackTo: this.#savepoint ? 12 : 0,
      release: this.#savepoint ? 4 : 0,
      commit: 24,
      rollback: 5,
      prepare: prepared.length < MAX_PREPARED ? 7 : 0,
      chain: this.role === 'seen' ? 7 : 0,
      rest: tired ? 0 : 6,
    })
    this.#statements += 1
    switch (kind) {
      case 'insert':
        return this.#send(this.#insert())
      // However this transaction is committed, it takes long: a deferred trigger of the row waits at the gate.
      case 'gatedInsert':
        return this.#send(this.#insert(await this.#gate()))
      case 'savepoint':
        this.#savepoint = true
        return this.#send('SAVEPOINT s')
      case 'rollbackTo':
        return this.#send('ROLLBACK TO SAVEPOINT s')
      case 'release':
        this.#savepoint = false
        return this.#send('RELEASE SAVEPOINT s')
      case 'commit':
        return this.#end('COMMIT')
      case 'rollback':
        return this.#end('ROLLBACK')
      // The chained transaction's now() is the arrival of this message, before the end of a slow commit.
      case 'chain':
        return this.#end(random.chance(0.7) ? 'COMMIT AND CHAIN' : 'ROLLBACK AND CHAIN', true)
      case 'prepare':
        return this.#prepare()
      case 'rest':
        return 'rest'
    }
  }

  #begin(): string {
    this.#opened()
    return this.#send('BEGIN')
  }

  /** now() of the second transaction is the arrival of the message, before the first one's end. */
  async #twoInOneMessage(): Promise<string> {
    const { random, prepared } = this.#shore
    const wait = async (): Promise<string> =>
      random.chance(0.5) ? `SELECT pg_advisory_xact_lock_shared(${await this.#gate()})` : 'SELECT'
    const first = ['BEGIN', this.#insert(), await wait(), random.chance(0.8) ? 'COMMIT' : 'ROLLBACK']
    const second = ['BEGIN', this.#insert(), await wait()]
    const ends = [
      'COMMIT',
      'leave open',
      'ROLLBACK',
      prepared.length < MAX_PREPARED ? 'prepare' : 'COMMIT',
    ] as const
    const end = random.pick(ends)
    if (end === 'leave open') {
      this.#opened()
      return this.#send([...first, ...second].join('; '))
    }
    if (end !== 'prepare') return this.#send([...first, ...second, end].join('; '))
    const gid = this.#shore.nextGid()
    return this.#send([...first, ...second, `PREPARE TRANSACTION '${gid}'`].join('; '), () => {
      prepared.push({ gid, role: this.role })
    })
  }

  #prepare(): string {
    const gid = this.#shore.nextGid()
    this.#open = false
    return this.#send(`PREPARE TRANSACTION '${gid}'`, () => {
      this.#shore.prepared.push({ gid, role: this.role })
    })
  }

  #settlePrepared(): string | undefined {
    const { random, prepared } = this.#shore
    const gid = random.pick(prepared.filter((one) => one.role === this.role))?.gid
    if (gid === undefined) return undefined
    prepared.splice(
      prepared.findIndex((one) => one.gid === gid),
      1,
    )
    return this.#send(`${random.chance(0.8) ? 'COMMIT' : 'ROLLBACK'} PREPARED '${gid}'`)
  }

  #insert(gate?: number): string {
    const rows = this.#shore.random.between(1, 3)
    const payload = `jsonb_build_object('by', '${this.session.name}', 'n', n)`
    return `INSERT INTO ${this.#shore.table} (gate, payload) SELECT ${gate ?? 'NULL'}, ${payload} FROM generate_series(1, ${rows}) n`
  }

  async #gate(): Promise<number> {
    const gate = await this.#shore.closeGate()
    this.#shore.gates.push(gate)
    return gate
  }

  #end(text: string, chained = false): string {
    this.#open = chained
    this.#savepoint = false
    this.#statements = 0
    return this.#send(text)
  }

  #opened(): void {
    this.#open = true
    this.#savepoint = false
    this.#statements = 0
  }

  #send(text: string, done?: () => void): string {
    this.session.send(text, done)
    return text
  }
}
