import type { Contestant, Heat, Part } from '../part.ts'
import type { BenchServer } from '../server.ts'
import { benchSql } from '../statements.ts'
import { bareClients, bareIngest } from '../contestants/bare.ts'
import { leadingPoller } from '../contestants/tidemark.ts'

const TABLE = 'service_ops.integration_inbox'
const PAGE = 1_000

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

  const bare: Contestant = {
    name: 'bare keyset INSERT … ON CONFLICT',
    table: TABLE,
    async prepare(): Promise<Heat> {
      await start()
      const { clients, close } = await bareClients(server, 1)
      let read = 0
      return {
        async run() {
          for (const client of clients) read += await bareIngest(client, PAGE)
        },
        close,
        check: () => check(read),
      }
    },
  }

  /** `again`: every row is there already, as in a window that a long transaction keeps open. */
  const tidemark = (name: string, again: boolean): Contestant => ({
    name,
    table: TABLE,
    async prepare(): Promise<Heat> {
      await start()
      const poller = await leadingPoller(server, PAGE)
      if (again) await poller.pass()
      let read = 0
      return {
        async run() {
          read = await poller.pass()
        },
        close: () => poller.close(),
        check: () => check(read),
      }
    },
  })

  return {
    name: 'ingest',
    title: `source to inbox, page ${PAGE}, one client`,
    messages: rows,
    contestants: [bare, tidemark('Tidemark', false), tidemark('Tidemark, window read again', true)],
    against: bare.name,
    floors: [{ of: 'Tidemark', against: bare.name, least: 0.5 }],
  }
}
