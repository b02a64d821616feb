import type { ProcessorConfig } from '../../../src/config/types.ts'
import type { Contestant, Heat, Part } from '../part.ts'
import type { BenchServer } from '../server.ts'
import { benchSql } from '../statements.ts'
import { bareClients, claimAndMark } from './bare.ts'
import { drainingProcessor } from './tidemark.ts'

const OWN = 'service_ops.integration_inbox'
const BARE = 'bench.inbox'
const BATCH = 1_000
const CLIENTS = 2

/** Batches that may be in a handler at once; a no-op handler never has more than one. */
const BATCHES_AT_ONCE = 4

/** Concurrency of one-at-a-time handlers. */
const SINGLES_AT_ONCE = 24
const TRANSACTIONS_AT_ONCE = 6

/** A no-op that the processor has to wait for, as for every real handler. */
const noop = async (): Promise<void> => Promise.resolve()

const BATCHED: ProcessorConfig = {
  from: 'bench',
  contract: 'external',
  concurrency: BATCHES_AT_ONCE,
  handleBatch: noop,
  batchSize: BATCH,
}

/** Full inbox to empty, no-op handler in batches: one process against two clients of bare SQL. */
export function drainPart(server: BenchServer, rows: number): Part {
  const bareName = 'bare claim and mark, partial index on status'
  return {
    name: 'drain',
    title: `inbox to DONE, no-op handler, batches of ${BATCH}`,
    messages: rows,
    contestants: [
      bareDrain(server, rows, 'bare', bareName),
      bareDrain(server, rows, 'own', 'the same on our own layout'),
      ownDrain(server, rows, 'Tidemark', BATCHED),
    ],
    against: bareName,
    floors: [{ of: 'Tidemark', against: bareName, least: 0.5 }],
  }
}

/** One message a handler call, and one message a transaction, beside batches. */
export function singlePart(server: BenchServer, rows: number): Part {
  const external: ProcessorConfig = {
    from: 'bench',
    contract: 'external',
    concurrency: SINGLES_AT_ONCE,
    handle: noop,
  }
  const transactional: ProcessorConfig = {
    from: 'bench',
    contract: 'transactional',
    concurrency: TRANSACTIONS_AT_ONCE,
    handle: noop,
  }
  return {
    name: 'single',
    title: 'inbox to DONE, no-op handler, one message a call',
    messages: rows,
    contestants: [
      ownDrain(server, rows, `Tidemark, batches of ${BATCH}`, BATCHED),
      ownDrain(server, rows, `external, ${SINGLES_AT_ONCE} at once`, external),
      ownDrain(server, rows, `transactional, ${TRANSACTIONS_AT_ONCE} at once`, transactional),
    ],
    against: `Tidemark, batches of ${BATCH}`,
    floors: [],
  }
}

/** Keys of a tenth of the claims' size: each batch takes some messages of every key. */
const KEYS = 100
const SLOTS = 20

/** In order a key has one message in work, so a full batch needs as many keys. */
const KEYS_IN_ORDER = 2_000

/** The same drain with slots and with order in force, beside the one without. */
export function slotsPart(server: BenchServer, rows: number): Part {
  const without = 'without slots'
  const single = { from: 'bench', contract: 'external', concurrency: SINGLES_AT_ONCE, handle: noop } as const
  const transactional = {
    from: 'bench',
    contract: 'transactional',
    concurrency: TRANSACTIONS_AT_ONCE,
    handle: noop,
  } as const
  const keyed = (name: string, keys: number, config: ProcessorConfig): Contestant =>
    ownDrain(server, rows, name, config, keys)
  return {
    name: 'slots',
    title: `inbox to DONE, no-op handler, batches of ${BATCH} and ${SINGLES_AT_ONCE} at once`,
    messages: rows,
    contestants: [
      ownDrain(server, rows, without, BATCHED),
      keyed(`${KEYS} keys, ${SLOTS} slots`, KEYS, { ...BATCHED, slots: { perKey: SLOTS } }),
      keyed(`${KEYS_IN_ORDER} keys, ordered`, KEYS_IN_ORDER, { ...BATCHED, ordered: true }),
      ownDrain(server, rows, `${without}, one a call`, single),
      keyed(`${KEYS} keys, ${SLOTS} slots, one a call`, KEYS, { ...single, slots: { perKey: SLOTS } }),
      keyed(`${KEYS_IN_ORDER} keys, ordered, one a call`, KEYS_IN_ORDER, { ...single, ordered: true }),
      ownDrain(server, rows, `${without}, transactional`, transactional),
      keyed(`${KEYS} keys, ${SLOTS} slots, transactional`, KEYS, {
        ...transactional,
        slots: { perKey: SLOTS },
      }),
      keyed(`${KEYS_IN_ORDER} keys, ordered, transactional`, KEYS_IN_ORDER, {
        ...transactional,
        ordered: true,
      }),
    ],
    against: without,
    floors: ['one a call', 'transactional'].flatMap((shape) =>
      [`${KEYS} keys, ${SLOTS} slots, ${shape}`, `${KEYS_IN_ORDER} keys, ordered, ${shape}`].map((of) => ({
        of,
        against: `${without}, ${shape}`,
        least: 0.6,
      })),
    ),
  }
}

async function start(
  server: BenchServer,
  fill: 'fill_bare' | 'fill_inbox' | 'fill_keyed',
  rows: number,
  keyed?: { readonly keys: number; readonly ordered: boolean },
): Promise<void> {
  await server.query(benchSql('empty'))
  await server.query('CHECKPOINT')
  await server.query(benchSql(fill), keyed === undefined ? [rows] : [rows, keyed.keys, keyed.ordered])
  await server.query(`VACUUM (ANALYZE) ${fill === 'fill_bare' ? BARE : OWN}`)
}

function checker(server: BenchServer, count: 'count_bare' | 'count_inbox', rows: number): Heat['check'] {
  return async () => {
    const [found] = await server.query<{ rows: number; done: number }>(benchSql(count))
    if (found?.rows !== rows || found.done !== rows)
      throw new Error(`${found?.done ?? 0} of ${rows} messages were done once`)
  }
}

function bareDrain(server: BenchServer, rows: number, table: 'bare' | 'own', name: string): Contestant {
  return {
    name,
    table: table === 'bare' ? BARE : OWN,
    async prepare() {
      await start(server, table === 'bare' ? 'fill_bare' : 'fill_inbox', rows)
      const { clients, close } = await bareClients(server, CLIENTS)
      return {
        async run() {
          await Promise.all(clients.map((client) => claimAndMark(client, table, BATCH)))
        },
        close,
        check: checker(server, table === 'bare' ? 'count_bare' : 'count_inbox', rows),
      }
    },
  }
}

function ownDrain(
  server: BenchServer,
  rows: number,
  name: string,
  config: ProcessorConfig,
  keys?: number,
): Contestant {
  return {
    name,
    table: OWN,
    async prepare() {
      const keyed = keys === undefined ? undefined : { keys, ordered: config.ordered === true }
      await start(server, keyed === undefined ? 'fill_inbox' : 'fill_keyed', rows, keyed)
      const processor = await drainingProcessor(server, config)
      return {
        run: () => processor.drain(rows),
        close: () => processor.close(),
        check: checker(server, 'count_inbox', rows),
      }
    },
  }
}
