import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Client } from 'pg'
import type { Queryable } from '../../src/db/pool.ts'
import { LowWater } from '../../src/process/lowWater.ts'
import {
  claimMessages,
  claimSuspect,
  giveBack,
  reclaim,
  writeDone,
  writeFailed,
} from '../../src/tables/inbox.ts'
import type { ClaimedRow } from '../../src/tables/inbox.ts'
import { raiseLowWater, readLowWater } from '../../src/tables/lowWater.ts'
import { Random } from '../properties/random.ts'
import { createDatabase } from '../support/database.ts'
import type { Scope } from '../support/scope.ts'
import { until } from '../support/until.ts'
import { SOURCE } from './fixture.ts'

/*
 * A random schedule of everything that touches the inbox, one step at a time on real connections: inserts that commit
 * late or never, claims that commit late or roll back, outcomes, give-backs, reclaims, looks, restarts of a processor.
 * After every step, nothing open may lie at or below a settled mark without next_attempt_at; at the end, every message
 * that was committed has been done exactly once.
 */

const SEEDS = 10
const STEPS = 160
const WRITERS = 4
const CLAIMERS = 2

interface Writer {
  readonly client: Client
  inserted: number[]
}

class Claimer {
  readonly name: string
  /** Claims, some in transactions that stay open. */
  readonly claims: Client
  readonly looks: Queryable
  low: LowWater
  open: ClaimedRow[] | undefined
  inWork: ClaimedRow[] = []

  constructor(name: string, claims: Client, looks: Queryable) {
    this.name = name
    this.claims = claims
    this.looks = looks
    this.low = new LowWater(looks, [SOURCE])
  }

  /** The claim is committed: what follows is what the processor does with its rows. */
  committed(rows: readonly ClaimedRow[]): void {
    for (const row of rows) if (row.fresh) this.low.claimed(BigInt(row.inbox_id))
    this.inWork.push(...rows)
  }
}

/** What a mutant sees of the database. */
type Lens = (client: Client) => Queryable

class Schedule {
  readonly #random: Random
  readonly #observer: Client
  readonly #writers: Writer[]
  readonly #claimers: Claimer[]
  readonly #committed = new Set<string>()
  readonly #done = new Map<string, number>()
  #next = 0

  constructor(seed: number, observer: Client, writers: Client[], claimers: Claimer[]) {
    this.#random = new Random(seed)
    this.#observer = observer
    this.#writers = writers.map((client) => ({ client, inserted: [] }))
    this.#claimers = claimers
  }

  async run(): Promise<void> {
    for (let i = 0; i < STEPS; i += 1) {
      await this.#step()
      await this.#check()
    }
    for (const writer of this.#writers) await this.#end(writer, 'COMMIT')
    for (const claimer of this.#claimers) await this.#endClaim(claimer, 'COMMIT')
    await this.#finish()
  }

  async #step(): Promise<void> {
    const writer = this.#random.pick(this.#writers) as Writer
    const claimer = this.#random.pick(this.#claimers) as Claimer
    const steps = { write: 6, end: 4, claim: 6, look: 6, outcome: 8, reclaim: 1, restart: 1 }
    switch (this.#random.weighted(steps)) {
      case 'write':
        return this.#write(writer)
      case 'end':
        return this.#end(writer, this.#random.chance(0.75) ? 'COMMIT' : 'ROLLBACK')
      case 'claim':
        if (claimer.open === undefined) return this.#claim(claimer)
        return this.#endClaim(claimer, this.#random.chance(0.6) ? 'COMMIT' : 'ROLLBACK')
      case 'look':
        await claimer.low.look()
        return
      case 'outcome':
        return this.#outcome(claimer)
      case 'reclaim':
        // Only what no open transaction of its own holds: the dead have none.
        if (claimer.open !== undefined) return
        claimer.inWork = []
        await reclaim(this.#observer, claimer.name, 100, this.#random.chance(0.5))
        return
      case 'restart':
        await raiseLowWater(this.#observer, [SOURCE], claimer.low.settled, await this.#boot())
        claimer.low = new LowWater(claimer.looks, [SOURCE])
    }
  }

  async #boot(): Promise<string> {
    return (await readLowWater(this.#observer, [SOURCE])).boot
  }

  async #write(writer: Writer): Promise<void> {
    const { client, inserted } = writer
    if (inserted.length === 0) await client.query('BEGIN')
    const count = this.#random.between(1, 3)
    for (let i = 0; i < count; i += 1) inserted.push((this.#next += 1))
    await client.query(
      `INSERT INTO service_ops.integration_inbox (source, message_id, payload, trace_id) SELECT $1, u, '{}', u FROM unnest($2::text[]) u`,
      [SOURCE, inserted.slice(-count).map(String)],
    )
  }

  async #end(writer: Writer, how: 'COMMIT' | 'ROLLBACK'): Promise<void> {
    if (writer.inserted.length === 0) return
    await writer.client.query(how)
    if (how === 'COMMIT') for (const id of writer.inserted) this.#committed.add(String(id))
    writer.inserted = []
  }

  async #claim(claimer: Claimer): Promise<void> {
    const stays = this.#random.chance(0.4)
    if (stays) await claimer.claims.query('BEGIN')
    const request = {
      sources: [SOURCE],
      instanceId: claimer.name,
      limit: this.#random.between(1, 5),
      low: await claimer.low.low(),
      maxAttempts: 1_000,
      maxBytes: 1_000_000,
    }
    const suspect = this.#random.chance(0.3) ? await claimSuspect(claimer.claims, request) : []
    const rows = suspect.length > 0 ? suspect : await claimMessages(claimer.claims, request)
    if (stays) claimer.open = rows
    else claimer.committed(rows)
  }

  async #endClaim(claimer: Claimer, how: 'COMMIT' | 'ROLLBACK'): Promise<void> {
    const rows = claimer.open
    if (rows === undefined) return
    claimer.open = undefined
    await claimer.claims.query(how)
    if (how === 'COMMIT') claimer.committed(rows)
  }

  async #outcome(claimer: Claimer): Promise<void> {
    const row = claimer.inWork.shift()
    if (row === undefined) return
    const claim = { inboxId: row.inbox_id, claim: row.claim }
    const kind = this.#random.weighted({ done: 4, failed: 2, back: 2 })
    if (kind === 'failed')
      await writeFailed(this.#observer, claimer.name, [{ ...claim, error: 'no', waitMs: 0 }])
    else if (kind === 'back')
      await giveBack(this.#observer, claimer.name, [{ ...claim, waitMs: 0, counts: false }])
    else await this.#finishOne(claimer, row)
  }

  async #finishOne(claimer: Claimer, row: ClaimedRow): Promise<void> {
    const claim = { inboxId: row.inbox_id, claim: row.claim }
    const written = await writeDone(this.#observer, claimer.name, [claim])
    if (written.has(row.inbox_id)) this.#done.set(row.message_id, (this.#done.get(row.message_id) ?? 0) + 1)
  }

  async #check(): Promise<void> {
    for (const { low, name } of this.#claimers) {
      const { rows } = await this.#observer.query(
        `SELECT inbox_id, status FROM service_ops.integration_inbox
          WHERE inbox_id <= $1 AND status IN ('NEW', 'PROCESSING', 'FAILED') AND next_attempt_at IS NULL`,
        [low.settled],
      )
      assert.deepEqual(rows, [], `open at or below the settled mark ${low.settled} of ${name}`)
    }
  }

  /** Nothing new comes: looks and claims alone must bring everything to its end. */
  async #finish(): Promise<void> {
    for (let round = 0; round < 200 && this.#done.size < this.#committed.size; round += 1) {
      for (const claimer of this.#claimers) {
        await claimer.low.look()
        await this.#claim(claimer)
        await this.#endClaim(claimer, 'COMMIT')
        for (const row of claimer.inWork.splice(0)) await this.#finishOne(claimer, row)
        await this.#check()
      }
    }
    assert.deepEqual([...this.#done.keys()].sort(), [...this.#committed].sort(), 'every message was done')
    assert.deepEqual(new Set(this.#done.values()), new Set([1]), 'and once')
    const { rows } = await this.#observer.query<{ head: string | null }>(
      'SELECT max(inbox_id) AS head FROM service_ops.integration_inbox',
    )
    for (const { low } of this.#claimers) {
      await until('the mark to come to the end', async () => {
        await low.look()
        return low.settled === (rows[0]?.head ?? '0')
      })
    }
  }
}

async function runSeeds(scope: Scope, lens: Lens): Promise<string | undefined> {
  const database = await createDatabase(scope)
  const clients = await Promise.all(
    Array.from({ length: 1 + WRITERS + 2 * CLAIMERS }, () => database.client()),
  )
  const [observer, ...rest] = clients as [Client, ...Client[]]
  const writers = rest.slice(0, WRITERS)
  const own = rest.slice(WRITERS)
  for (let seed = 1; seed <= SEEDS; seed += 1) {
    for (const client of clients) await client.query('ROLLBACK')
    await observer.query(
      'TRUNCATE service_ops.integration_inbox, service_ops.inbox_low_water RESTART IDENTITY',
    )
    const claimers = Array.from(
      { length: CLAIMERS },
      (_, i) => new Claimer(`claimer-${i}`, own[2 * i] as Client, lens(own[2 * i + 1] as Client)),
    )
    try {
      await new Schedule(seed, observer, writers, claimers).run()
    } catch (error) {
      return `seed ${seed}: ${String(error)}`
    }
  }
  return undefined
}

/** Looks as they are, but for what `change` makes of their result. */
function seen(change: (row: Record<string, unknown>) => Record<string, unknown>): Lens {
  return (client) => ({
    async query(text: string, values?: readonly unknown[]) {
      const result = await client.query(text, values === undefined ? undefined : [...values])
      const rows = (result.rows as Record<string, unknown>[]).map((row) =>
        'writers' in row ? change(row) : row,
      )
      return { ...result, rows: rows as never[] }
    },
  })
}

describe('the low-water mark, under random schedules', () => {
  test('never passes an open message, and every message is claimed and done once', async (t) => {
    assert.equal(await runSeeds(t, (client) => client), undefined)
  })

  test('is caught when it forgets who may still be inserting', async (t) => {
    const failure = await runSeeds(
      t,
      seen((row) => ({ ...row, writers: [] })),
    )
    assert.match(failure ?? 'nothing was found', /settled mark|every message was done/)
  })

  test('is caught when it forgets messages in work', async (t) => {
    const failure = await runSeeds(
      t,
      seen((row) => ({ ...row, first_open: row['first_new'] })),
    )
    assert.match(failure ?? 'nothing was found', /settled mark/)
  })

  test('is caught when it forgets messages that a claim has passed over', async (t) => {
    const failure = await runSeeds(
      t,
      seen((row) => ({ ...row, first_new: null })),
    )
    assert.match(failure ?? 'nothing was found', /every message was done/)
  })
})

describe('the low-water mark', () => {
  test('stands still while a prepared transaction may hold numbers, and goes on when it ends', async (t) => {
    const database = await createDatabase(t)
    const client = await database.client()
    const insert = `INSERT INTO service_ops.integration_inbox (source, message_id, payload, trace_id) VALUES ('${SOURCE}', $1, '{}', 'x')`
    const pool = database.pool()
    await client.query('BEGIN')
    await client.query(insert, ['prepared'])
    await client.query(`PREPARE TRANSACTION 'held ${database.name}'`)
    await pool.query(insert, ['later'])
    const low = new LowWater(pool, [SOURCE])
    const claim = async (): Promise<string[]> => {
      const request = { sources: [SOURCE], instanceId: 'one', limit: 10, maxAttempts: 3, maxBytes: 1_000 }
      const rows = await claimMessages(pool, { ...request, low: await low.low() })
      for (const row of rows) low.claimed(BigInt(row.inbox_id))
      await writeDone(
        pool,
        'one',
        rows.map((row) => ({ inboxId: row.inbox_id, claim: row.claim })),
      )
      return rows.map((row) => row.message_id)
    }
    assert.deepEqual(await claim(), ['later'])
    for (let i = 0; i < 5; i += 1) await low.look()
    assert.equal(low.settled, '0')
    await client.query(`COMMIT PREPARED 'held ${database.name}'`)
    await low.look()
    assert.deepEqual(await claim(), ['prepared'])
    for (let i = 0; i < 3; i += 1) await low.look()
    assert.equal(low.settled, '2')
  })

  test('goes on while a vacuum holds the table', async (t) => {
    const database = await createDatabase(t)
    const vacuum = await database.client()
    await vacuum.query('BEGIN; LOCK TABLE service_ops.integration_inbox IN SHARE UPDATE EXCLUSIVE MODE')
    const pool = database.pool()
    await pool.query(
      `INSERT INTO service_ops.integration_inbox (source, message_id, trace_id, status, processed_at) VALUES ('${SOURCE}', 'a', 'x', 'DONE', now())`,
    )
    const low = new LowWater(pool, [SOURCE])
    for (let looks = 0; looks < 3; looks += 1) await low.look()
    assert.equal(low.settled, '1')
  })

  test('is not held by a writer in another database that is a copy of this one', async (t) => {
    const [database, copy] = [await createDatabase(t), await createDatabase(t)]
    const [pool, writer] = [database.pool(), await copy.client()]
    const oid = `SELECT 'service_ops.integration_inbox'::regclass::oid AS oid`
    assert.deepEqual(
      (await writer.query(oid)).rows,
      (await pool.query(oid)).rows,
      'both have the same numbers',
    )
    const insert = `INSERT INTO service_ops.integration_inbox (source, message_id, trace_id, status, processed_at) VALUES ('${SOURCE}', 'a', 'x', 'DONE', now())`
    await writer.query(`BEGIN; ${insert}`)
    await pool.query(insert)
    const low = new LowWater(pool, [SOURCE])
    for (let looks = 0; looks < 3; looks += 1) await low.look()
    assert.equal(low.settled, '1')
    await writer.query('ROLLBACK')
  })

  test('is kept as soon as it has come far', async (t) => {
    const pool = (await createDatabase(t)).pool()
    const low = new LowWater(pool, [SOURCE])
    for (let head = 5_000; head <= 20_000; head += 5_000) {
      await pool.query(
        `INSERT INTO service_ops.integration_inbox (source, message_id, trace_id, status, processed_at)
         SELECT $1, n::text, 'x', 'DONE', now() FROM generate_series($2::integer - 4999, $2) n`,
        [SOURCE, head],
      )
      for (let looks = 0; looks < 3; looks += 1) await low.look()
      assert.equal((await readLowWater(pool, [SOURCE])).low, String(head))
    }
  })
})
