import { Client } from 'pg'
import type { Contestant, Heat, Part } from '../part.ts'
import type { BenchServer } from '../server.ts'
import { benchSql } from '../statements.ts'
import { bareClients, bareIngest } from '../contestants/bare.ts'
import { leadingPoller } from '../contestants/tidemark.ts'

const TABLE = 'service_ops.integration_inbox'
const PAGE = 1_000

const BARE = 'bare keyset INSERT … ON CONFLICT'
const BARE_AGAIN = 'the same, window read again'
const AGAIN = 'Tidemark, window read again'
const AGAIN_BESIDE = 'Tidemark, the same beside a transaction that writes'

/** On an idle machine the conflict that bare SQL runs into costs 5.2 µs a row: so this is 1 µs, on a busy one, too. */
const AGAIN_LEAST = 5.2

/** Source rows into the inbox: a pass of the poller against the keyset statement that people write, same table. */
export function ingestPart(server: BenchServer, rows: number): Part {
  let filled = false

  async function start(): Promise<void> {
    if (!filled) {
      await server.query(benchSql('fill_source'), [rows])
      await server.query('VACUUM (ANALYZE) bench.source')
      filled = true
    }
    await server.query(benchSql('empty'))
    await server.query('CHECKPOINT')
  }

  async function check(read: number): Promise<void> {
    const [found] = await server.query<{ rows: number }>(benchSql('count_inbox'))
    if (read !== rows || found?.rows !== rows)
      throw new Error(`${read} rows read and ${found?.rows ?? 0} taken in, of ${rows}`)
  }

  /** `again`: every row is there already, and is refused by ON CONFLICT. */
  const bare = (name: string, again: boolean): Contestant => ({
    name,
    table: TABLE,
    async prepare(): Promise<Heat> {
      await start()
      const { clients, close } = await bareClients(server, 1)
      const readAll = async (): Promise<number> => {
        let read = 0
        for (const client of clients) read += await bareIngest(client, PAGE)
        return read
      }
      if (again) await readAll()
      let read = 0
      return {
        async run() {
          read = await readAll()
        },
        close,
        check: () => check(read),
      }
    },
  })

  /**
   * `again`: every row is there already, as in a window that a long transaction keeps open. `beside`: that transaction has
   * written, and so has an xid.
   */
  const tidemark = (name: string, { again = false, beside = false } = {}): Contestant => ({
    name,
    table: TABLE,
    async prepare(): Promise<Heat> {
      await start()
      const writer = beside ? await openTransaction(server) : undefined
      const poller = await leadingPoller(server, PAGE)
      if (again) await poller.pass()
      let read = 0
      return {
        async run() {
          read = await poller.pass()
        },
        async close() {
          await poller.close()
          await writer?.end()
        },
        check: () => check(read),
      }
    },
  })

  return {
    name: 'ingest',
    title: `source to inbox, page ${PAGE}, one client`,
    messages: rows,
    contestants: [
      bare(BARE, false),
      tidemark('Tidemark'),
      bare(BARE_AGAIN, true),
      tidemark(AGAIN, { again: true }),
      tidemark(AGAIN_BESIDE, { again: true, beside: true }),
    ],
    against: BARE,
    floors: [
      { of: 'Tidemark', against: BARE, least: 0.85 },
      ...[AGAIN, AGAIN_BESIDE].map((of) => ({ of, against: BARE_AGAIN, least: AGAIN_LEAST })),
    ],
  }
}

/** A transaction that has written and goes on. */
async function openTransaction(server: BenchServer): Promise<Client> {
  const client = new Client({ connectionString: server.url })
  await client.connect()
  await client.query('BEGIN; SELECT pg_current_xact_id()')
  return client
}
