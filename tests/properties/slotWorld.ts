/**
 * Slots and order under schedules that a seed decides: claims in three steps (the statement begins, it goes on to lock and
 * claim, commit) by several instances, with everything else that can happen to a message or a limit between any two of them.
 * After each step the inbox is counted by statements of the test's own, which know nothing of what the claims keep.
 *
 * A claim is one statement. It is made to stop after its snapshot was taken and before it locks by an advisory lock that
 * the gate holds.
 */
import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import type { Client, Pool } from 'pg'
import { giveBack, reclaim, writeDone, writeFailed } from '../../src/tables/inbox.ts'
import {
  claimByNumber,
  claimInSlots,
  claimSuspectInSlots,
  enterDefault,
  enterKeys,
} from '../../src/tables/slots.ts'
import { Random } from './random.ts'
import {
  AT_THE_GATE,
  EARLIER,
  IN_FORCE,
  OPEN,
  SOURCE,
  lineUpSome,
  newClaimer,
  preparing,
} from './slotClaimer.ts'
import type { Claimer, Edit, Force } from './slotClaimer.ts'

/** `unsafe`: too many at once, or out of order; `stuck`: what should have gone on did not. */
export class SlotViolation extends Error {
  override readonly name = 'SlotViolation'
  readonly kind: 'unsafe' | 'stuck'
  constructor(kind: 'unsafe' | 'stuck', message: string) {
    super(message)
    this.kind = kind
  }
}

const KEYS = ['a', 'b', 'c'] as const
const DEFAULT_SLOTS = 2
const STEPS = 160
const MAX_ATTEMPTS = 2
/** A statement that takes longer waits for a lock: the schedule goes on without it. */
const BLOCKED_MS = 60

export interface SlotSessions {
  readonly pool: Pool
  /** One for each claimer, then one for a person, one for a writer and one for the gate. */
  readonly clients: readonly [Client, Client, Client, Client, Client, Client]
}

const COUNTS = `
  SELECT m.group_key, count(*)::int AS n FROM service_ops.integration_inbox m
   WHERE m.source = '${SOURCE}' AND m.status = 'PROCESSING' AND m.group_key IS NOT NULL GROUP BY 1`

export class SlotWorld {
  readonly #pool: Pool
  readonly #claimers: readonly Claimer[]
  readonly #person: Client
  readonly #writer: Client
  readonly #gate: Client
  readonly #random: Random
  readonly #ordered: boolean
  readonly #edit: Edit
  readonly #say: (step: string) => void
  readonly #allowed = new Map<string, number>()
  #violation: SlotViolation | undefined
  #personBusy = false
  #writerBusy = false
  #clock = 0
  #sent = 0

  constructor(
    { pool, clients }: SlotSessions,
    seed: number,
    options: { ordered: boolean; edit: Edit; say: (step: string) => void },
  ) {
    this.#pool = pool
    const [one, two, three, person, writer, gate] = clients
    this.#claimers = [one, two, three].map((client, i) => newClaimer(client, i + 1))
    this.#person = person
    this.#writer = writer
    this.#gate = gate
    this.#random = new Random(seed)
    this.#ordered = options.ordered
    this.#edit = options.edit
    this.#say = options.say
  }

  async play(): Promise<{ sent: number; claimed: number }> {
    await this.#pool.query(
      'TRUNCATE service_ops.integration_inbox, service_ops.slot_limit, service_ops.inbox_low_water',
    )
    await enterDefault(this.#pool, [SOURCE], { perKey: DEFAULT_SLOTS, ordered: this.#ordered })
    try {
      for (let step = 0; step < STEPS; step += 1) await this.#step()
    } finally {
      await this.#settle()
    }
    const claimed = await this.#drain()
    return { sent: this.#sent, claimed }
  }

  async #step(): Promise<void> {
    const claimer = this.#random.pick(this.#claimers)
    assert.ok(claimer)
    const what = this.#random.weighted({
      claim: 80,
      send: 14,
      end: 22,
      reclaim: 3,
      limit: 5,
      person: 6,
      lineUp: 3,
    })
    this.#say(`${what} ${claimer.name} ${claimer.phase}`)
    if (what === 'claim') await this.#claim(claimer)
    else if (what === 'send') await this.#send()
    else if (what === 'end') await this.#end()
    else if (what === 'reclaim') await reclaim(this.#pool, claimer.name, 100, this.#random.chance(0.5))
    else if (what === 'limit') await this.#limit()
    else if (what === 'person') await this.#personActs()
    else await lineUpSome(this.#pool, claimer, this.#random)
    await this.#check()
  }

  /** The next of the three steps of this instance's claim. */
  async #claim(claimer: Claimer): Promise<void> {
    if (claimer.phase === 'idle') await this.#begin(claimer)
    else if (claimer.phase === 'began') await this.#take(claimer)
    else if (claimer.phase === 'took') await this.#commit(claimer)
  }

  async #begin(claimer: Claimer): Promise<void> {
    const { client, gate, name } = claimer
    await client.query('BEGIN ISOLATION LEVEL READ COMMITTED')
    const open = await client.query<{ inbox_id: string }>(OPEN)
    claimer.open = open.rows.map((row) => row.inbox_id)
    const force = await client.query<Force>(IN_FORCE)
    claimer.force = new Map(force.rows.map((row) => [row.key, row]))
    await this.#gate.query('SELECT pg_advisory_lock($1)', [gate])
    const claims = preparing(client, this.#edit, gate)
    const request = {
      source: SOURCE,
      instanceId: name,
      limit: this.#random.between(1, 6),
      maxAttempts: MAX_ATTEMPTS,
      maxBytes: 1_000_000,
      ordered: this.#ordered,
    }
    const claim = async (): Promise<void> => {
      if (this.#random.chance(0.2)) {
        const key = this.#random.pick([null, ...KEYS]) ?? null
        claimer.rows = await claimSuspectInSlots(claims, { ...request, limit: 1 }, key, claimer.low)
      } else if (this.#random.chance(0.5)) {
        const look = this.#random.between(1, 8)
        const { seen, rows } = await claimByNumber(claims, request, {
          above: claimer.low,
          look,
          tried: this.#random.between(1, look),
          keylessFirst: this.#random.chance(0.5),
        })
        claimer.unknown = seen.unknown
        claimer.rows = rows
        claimer.lowNow = seen.left === null ? (seen.last ?? claimer.low) : String(BigInt(seen.left) - 1n)
      } else {
        const after = this.#random.pick([null, null, ...KEYS]) ?? null
        const walk = {
          after,
          look: 100,
          lock: this.#random.between(1, 4),
          keylessFirst: this.#random.chance(0.5),
          low: claimer.low,
        }
        const { seen, rows } = await claimInSlots(claims, request, walk)
        claimer.unknown = seen.unknown
        claimer.rows = rows
      }
    }
    const over = new AbortController()
    claimer.lowNow = claimer.low
    claimer.phase = 'began'
    claimer.claiming = claim().finally(() => over.abort())
    claimer.claiming.catch(() => undefined)
    while (!over.signal.aborted && (await this.#gate.query(AT_THE_GATE, [gate])).rowCount === 0)
      await delay(1)
  }

  async #take(claimer: Claimer): Promise<void> {
    const { client, name, gate, open, force } = claimer
    claimer.phase = 'waits'
    await this.#gate.query('SELECT pg_advisory_unlock($1)', [gate])
    // Seen to when it has its rows, which may be later: it may have to wait for a lock.
    claimer.claiming = claimer.claiming.then(async () => {
      if (this.#ordered)
        for (const { inbox_id: id } of claimer.rows) {
          const { rows } = await client.query<{ inbox_id: string }>(EARLIER, [id, open])
          const [earlier] = rows
          if (earlier !== undefined)
            this.#violated(`${id} was claimed while ${earlier.inbox_id} before it is open`)
        }
      for (const key of new Set(claimer.rows.map((row) => row.group_key))) {
        // A key that got its row between that look and the claim has what the default says.
        const inForce = force.get(key ?? '*') ?? force.get('*')
        assert.ok(inForce)
        if (inForce.paused) this.#violated(`${key} was claimed of while it is paused`)
        if (key !== null) this.#allowed.set(`${name} ${key}`, this.#ordered ? 1 : inForce.most)
      }
      claimer.phase = 'took'
    })
    claimer.claiming.catch(() => undefined)
    await Promise.race([claimer.claiming, delay(BLOCKED_MS)])
  }

  #violated(message: string): void {
    this.#violation ??= new SlotViolation('unsafe', message)
  }

  async #commit(claimer: Claimer): Promise<void> {
    const { client, rows, name, unknown } = claimer
    const lost = this.#random.chance(0.1)
    await client.query(lost ? 'ROLLBACK' : 'COMMIT')
    for (const key of new Set(rows.map((row) => row.group_key))) {
      const most = this.#allowed.get(`${name} ${key}`)
      if (key !== null && most !== undefined && !lost) this.#allowed.set(key, most)
    }
    claimer.rows = []
    claimer.phase = 'idle'
    if (!lost) claimer.low = claimer.lowNow
    claimer.unknown = []
    if (unknown.length > 0) await enterKeys(this.#pool, SOURCE, unknown, '0')
  }

  /** Rows come in order of time, most of them; some transactions commit late. Those that are late are lined up. */
  async #send(): Promise<void> {
    if (this.#writerBusy) {
      await this.#writer.query('COMMIT')
      this.#writerBusy = false
      return
    }
    await this.#writer.query('BEGIN')
    this.#writerBusy = true
    for (let i = this.#random.between(1, 5); i > 0; i -= 1) {
      this.#clock += 1
      this.#sent += 1
      const isLate = this.#random.chance(0.2)
      const at = isLate ? this.#random.between(0, this.#clock) : this.#clock
      const key = this.#random.chance(0.1) ? null : this.#random.pick(KEYS)
      await this.#writer.query(
        `INSERT INTO service_ops.integration_inbox (source, message_id, group_key, source_created_at, next_attempt_at, payload, trace_id, max_attempts)
         VALUES ($1, $2, $3, to_timestamp($4), CASE WHEN $5 THEN clock_timestamp() END, '{}', $2, $6)`,
        [SOURCE, String(this.#sent), key, at, isLate || this.#random.chance(0.5), MAX_ATTEMPTS],
      )
    }
    if (this.#random.chance(0.6)) await this.#send()
  }

  /** The outcome of a message in work, by whoever has it or, too late, had it. */
  async #end(): Promise<void> {
    const { rows } = await this.#pool.query<{ id: string; claim: number; owner: string }>(
      `SELECT inbox_id AS id, claim, locked_by AS owner FROM service_ops.integration_inbox WHERE source = $1 AND status = 'PROCESSING' ORDER BY inbox_id`,
      [SOURCE],
    )
    const one = this.#random.pick(rows)
    if (one === undefined) return
    const claim = { inboxId: one.id, claim: this.#random.chance(0.1) ? one.claim - 1 : one.claim }
    const what = this.#random.weighted({ done: 8, failed: 7, back: 3 })
    const waitMs = this.#random.chance(0.5) ? 0 : 3_600_000
    const client = await this.#pool.connect()
    try {
      await client.query(`SET lock_timeout = '20ms'`)
      if (what === 'done') await writeDone(client, one.owner, [claim])
      else if (what === 'failed')
        await writeFailed(client, one.owner, [{ ...claim, error: 'RangeError: x', waitMs }])
      else await giveBack(client, one.owner, [{ ...claim, waitMs: 0, counts: false }])
    } catch (error) {
      if (!isLocked(error)) throw error
    } finally {
      client.release(true)
    }
  }

  async #limit(): Promise<void> {
    const key = this.#random.pick([...KEYS, '*'])
    const [most, paused] = [this.#random.pick([null, 0, 1, 2, 3, 3]), this.#random.chance(0.15)]
    await this.#alone(`UPDATE service_ops.slot_limit SET max_slots = $2, paused = $3 WHERE group_key = $1`, [
      key,
      most,
      paused,
    ])
  }

  /** A person retries or discards a message, and takes time to commit. */
  async #personActs(): Promise<void> {
    if (this.#personBusy) {
      await this.#person.query('COMMIT')
      this.#personBusy = false
      return
    }
    const set = this.#random.chance(0.7)
      ? `status = 'NEW', attempts = 0, next_attempt_at = clock_timestamp()`
      : `status = 'DISCARDED', next_attempt_at = NULL, processed_at = clock_timestamp()`
    await this.#person.query('BEGIN')
    this.#personBusy = true
    await this.#person.query(
      `UPDATE service_ops.integration_inbox SET ${set} WHERE inbox_id = (
         SELECT inbox_id FROM service_ops.integration_inbox WHERE source = $1 AND status IN ('NEW', 'FAILED', 'DEAD') ORDER BY inbox_id LIMIT 1 FOR UPDATE SKIP LOCKED)`,
      [SOURCE],
    )
  }

  /** One statement that gives way when it would have to wait. */
  async #alone(text: string, values: unknown[]): Promise<void> {
    const client = await this.#pool.connect()
    try {
      await client.query(`SET lock_timeout = '20ms'`)
      await client.query(text, values)
    } catch (error) {
      if (!isLocked(error)) throw error
    } finally {
      client.release(true)
    }
  }

  async #check(): Promise<void> {
    if (this.#violation !== undefined) throw this.#violation
    const { rows } = await this.#pool.query<{ group_key: string; n: number }>(COUNTS)
    for (const { group_key: key, n } of rows) {
      const most = this.#allowed.get(key) ?? 0
      if (n > most) {
        const said = this.#allowed.has(key) ? `${most} is its limit` : 'no claim of it was committed'
        throw new SlotViolation('unsafe', `${n} of ${key} in work, and ${said}`)
      }
    }
  }

  /** Ends what is open, whatever it is. */
  async #settle(): Promise<void> {
    for (const client of [this.#person, this.#writer]) await client.query('COMMIT')
    await this.#gate.query('SELECT pg_advisory_unlock_all()')
    for (let i = 0; i < 2; i += 1)
      for (const claimer of this.#claimers) {
        if (claimer.phase === 'waits' || claimer.phase === 'began')
          await Promise.race([claimer.client.query('SELECT 1'), delay(500)])
        else await claimer.client.query('ROLLBACK')
      }
    for (const claimer of this.#claimers) {
      await claimer.client.query('ROLLBACK')
      claimer.low = claimer.lowNow = '0'
      claimer.phase = 'idle'
      claimer.rows = []
    }
  }

  /** With every limit at its default, everything that is open is done in the end. */
  async #drain(): Promise<number> {
    await this.#pool.query('UPDATE service_ops.slot_limit SET max_slots = NULL, paused = false')
    await this.#pool.query(
      `UPDATE service_ops.integration_inbox SET status = 'NEW', attempts = 0, suspect = false, next_attempt_at = clock_timestamp() WHERE status IN ('FAILED', 'DEAD', 'NEW')`,
    )
    for (const { name } of this.#claimers) await reclaim(this.#pool, name, 1000, false)
    await this.#pool.query(
      `UPDATE service_ops.integration_inbox SET status = 'NEW', attempts = 0, suspect = false, next_attempt_at = clock_timestamp() WHERE status IN ('FAILED', 'DEAD')`,
    )
    const client = this.#claimers[0]?.client
    assert.ok(client)
    const claims = preparing(client, this.#edit)
    const request = { source: SOURCE, instanceId: 'end', limit: 50, maxAttempts: 3, maxBytes: 1_000_000 }
    const walk = { after: null, look: 100, lock: 50, keylessFirst: true, low: '0' }
    let claimed = 0
    for (let idle = 0; idle < 3;) {
      const { seen, rows } = await claimInSlots(claims, { ...request, ordered: this.#ordered }, walk)
      await enterKeys(this.#pool, SOURCE, seen.unknown, '0')
      await writeDone(
        this.#pool,
        'end',
        rows.map((row) => ({ inboxId: row.inbox_id, claim: row.claim })),
      )
      claimed += rows.length
      idle = rows.length === 0 ? idle + 1 : 0
    }
    const { rows } = await this.#pool.query<{ inbox_id: string; group_key: string; status: string }>(
      `SELECT inbox_id, group_key, status FROM service_ops.integration_inbox WHERE status NOT IN ('DONE', 'DISCARDED') LIMIT 1`,
    )
    const [left] = rows
    if (left !== undefined)
      throw new SlotViolation('stuck', `${left.inbox_id} of ${left.group_key} is ${left.status} for ever`)
    const { rows: held } = await this.#pool.query('SELECT FROM service_ops.slot_status WHERE in_use > 0')
    if (held.length > 0) throw new SlotViolation('stuck', 'a slot is in use with nothing in work')
    return claimed
  }
}

function isLocked(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === '55P03'
}
