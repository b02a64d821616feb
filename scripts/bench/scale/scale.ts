import type { ProcessorConfig } from '../../../src/config/types.ts'
import { compete } from '../contest.ts'
import type { BenchPart, Contestant, Part } from '../part.ts'
import { drainingProcessor, leadingPoller } from '../contestants/tidemark.ts'
import { figuresOf, tableOf, verdictsOf, whole } from '../report.ts'
import { addDatabase } from '../server.ts'
import type { BenchServer } from '../server.ts'
import { scaleSql } from './statements.ts'

/*
 * What finished rows cost: the same drain and the same ingest in databases of one server that differ in how many finished
 * rows their inboxes hold, in turn. What a turn has done is deleted before the next, so the inbox stays as full as it was.
 */

const FEW = 10_000
const QUICK_MOST = 1_000_000
const MOST = 10_000_000
/** A tenth of the throughput may go. */
const LEAST = 0.9

/** Rows of one INSERT: a step of what is told. */
const CHUNK = 250_000
const PAGE = 1_000
const TABLE = 'service_ops.integration_inbox'

const BATCHED: ProcessorConfig = {
  from: 'bench',
  contract: 'external',
  concurrency: 4,
  batchSize: 1_000,
  handleBatch: async () => Promise.resolve(),
}

/** A database with so many finished rows. */
interface Filled {
  readonly server: BenchServer
  readonly finished: number
  readonly name: string
  /** Empties it of the turn before, and gives the numbers of new rows. */
  turn(rows: number): Promise<{ first: number; last: number }>
  /** Throws unless so many came since, and are as they must be. */
  check(rows: number, done: number): Promise<void>
}

export const scale: BenchPart = {
  name: 'scale',
  about: 'drain and ingest with 10 thousand, 1 million and 10 million finished rows in the inbox',
  onRequest: true,
  async run(server, { rows, rounds, quick, finished }, tell) {
    const most = finished ?? (quick ? QUICK_MOST : MOST)
    const sizes = [Math.min(FEW, Math.ceil(most / 100)), QUICK_MOST, most].filter(
      (size, n) => n !== 1 || size < most,
    )
    const filled: Filled[] = []
    try {
      for (const size of sizes)
        filled.push(
          await fill(server, size, (done) => tell(`scale: ${whole(done)} of ${whole(size)} finished rows`)),
        )
      const outcomes = []
      for (const part of [drainOf(filled, rows), ingestOf(filled, rows)])
        outcomes.push(
          await figuresOf(
            await compete(server, part, rounds, (contestant, round) =>
              tell(`${part.name}: round ${round} of ${rounds}: ${contestant}`),
            ),
          ),
        )
      return {
        json: { parts: outcomes },
        text: outcomes.map(tableOf).join(''),
        verdicts: outcomes.flatMap(verdictsOf),
      }
    } finally {
      for (const { server: database } of filled) await database.end()
    }
  },
}

async function fill(server: BenchServer, finished: number, told: (rows: number) => void): Promise<Filled> {
  const database = await addDatabase(server, `bench_${finished}`)
  for (let first = 1; first <= finished; first += CHUNK) {
    const last = Math.min(finished, first + CHUNK - 1)
    await database.query(scaleSql('fill_finished'), [first, last])
    told(last)
  }
  await database.query(scaleSql('keep_low_water'))
  await database.query(`VACUUM (ANALYZE) ${TABLE}`)
  await database.query('CHECKPOINT')
  const [highest] = await database.query<{ id: string }>(scaleSql('highest'))
  const base = highest?.id ?? '0'
  let next = finished + 1
  return {
    server: database,
    finished,
    name: `${whole(finished)} finished rows`,
    async turn(rows) {
      await database.query(scaleSql('forget'), [base])
      await database.query(scaleSql('forget_poller'))
      await database.query(`VACUUM ${TABLE}`)
      const first = next
      next += rows
      return { first, last: next - 1 }
    },
    async check(rows, done) {
      const [found] = await database.query<{ rows: number; done: number }>(scaleSql('count_after'), [base])
      if (found?.rows !== rows || found.done !== done)
        throw new Error(`${found?.rows ?? 0} of ${rows} came, ${found?.done ?? 0} of ${done} were done once`)
    },
  }
}

function contest(
  name: string,
  title: string,
  messages: number,
  filled: readonly Filled[],
  make: (one: Filled) => Contestant['prepare'],
): Part {
  const contestants = filled.map((one): Contestant => ({
    name: one.name,
    server: one.server,
    table: TABLE,
    prepare: make(one),
  }))
  const against = contestants[0]?.name ?? ''
  const floors = contestants.slice(1).map(({ name: of }) => ({ of, against, least: LEAST }))
  return { name, title, messages, contestants, against, floors }
}

function drainOf(filled: readonly Filled[], rows: number): Part {
  const title = 'inbox to DONE, no-op handler, batches of 1000, by what else is in the inbox'
  return contest('scale, drain', title, rows, filled, (one) => async () => {
    const { first, last } = await one.turn(rows)
    await one.server.query(scaleSql('fill_open'), [first, last])
    await one.server.query(`VACUUM (ANALYZE) ${TABLE}`)
    await one.server.query('CHECKPOINT')
    const processor = await drainingProcessor(one.server, BATCHED)
    return {
      run: () => processor.drain(rows),
      close: () => processor.close(),
      check: () => one.check(rows, rows),
    }
  })
}

function ingestOf(filled: readonly Filled[], rows: number): Part {
  const title = `source to inbox, page ${PAGE}, by what else is in the inbox`
  return contest('scale, ingest', title, rows, filled, (one) => async () => {
    const { first, last } = await one.turn(rows)
    await one.server.query(scaleSql('refill_source'), [first, last])
    await one.server.query('VACUUM (ANALYZE) bench.source')
    await one.server.query('CHECKPOINT')
    const poller = await leadingPoller(one.server, PAGE)
    return {
      run: async () => {
        await poller.pass()
      },
      close: () => poller.close(),
      check: () => one.check(rows, 0),
    }
  })
}
