import { Client } from 'pg'
import type { BenchServer } from '../server.ts'
import { benchSql } from '../statements.ts'

/** Clients of bare SQL, connected. Their statements are prepared once: the least that PostgreSQL asks for. */
export interface BareClients {
  readonly clients: readonly Client[]
  readonly close: () => Promise<void>
}

export async function bareClients(server: BenchServer, count: number): Promise<BareClients> {
  const clients = Array.from({ length: count }, () => new Client({ connectionString: server.url }))
  await Promise.all(clients.map((client) => client.connect()))
  return {
    clients,
    close: async () => {
      await Promise.all(clients.map((client) => client.end()))
    },
  }
}

interface Claimed {
  readonly id: string
  readonly payload: unknown
}

/** Claims and marks until nothing is left; resolves to the rows marked. */
export async function claimAndMark(client: Client, table: 'bare' | 'own', size: number): Promise<number> {
  let low = '0'
  let marked = 0
  for (;;) {
    const values = table === 'bare' ? ['bare', size] : ['bare', size, low]
    const claim = { name: `${table}_claim`, text: benchSql(`${table}_claim`), values }
    const { rows } = await client.query<Claimed & Record<string, unknown>>(claim)
    if (rows.length === 0) return marked
    for (const { id } of rows) if (BigInt(id) > BigInt(low)) low = id
    const mark = {
      name: `${table}_mark`,
      text: benchSql(`${table}_mark`),
      values: [rows.map(({ id }) => id)],
    }
    marked += (await client.query(mark)).rowCount ?? 0
  }
}

/** Reads the source page by page into the inbox; resolves to the rows read. */
export async function bareIngest(client: Client, pageSize: number): Promise<number> {
  let cursor = { created_at: '-infinity', message_id: '0' }
  let read = 0
  for (;;) {
    const page = {
      name: 'bare_page',
      text: benchSql('bare_page'),
      values: [cursor.created_at, cursor.message_id, pageSize],
    }
    const { rows } = await client.query<typeof cursor & { n: string }>(page)
    const [last] = rows
    if (last === undefined) return read
    read += Number(last.n)
    cursor = last
  }
}
