import { Client } from 'pg'
import type { Contestant } from '../part.ts'
import type { BenchServer } from '../server.ts'
import { benchSql } from '../statements.ts'
import { allDone, BARE, fillInbox, INBOX } from './inbox.ts'

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

/** Ways of finishing by hand what was claimed. */
interface ByHand {
  readonly name: string
  readonly claim: 'bare_claim' | 'own_claim'
  readonly finish: 'bare_mark' | 'bare_delete' | 'own_mark'
}

/** Claims and finishes until nothing is left; resolves to the rows finished. */
async function claimAndFinish(client: Client, { claim, finish }: ByHand, size: number): Promise<number> {
  let low = '0'
  let finished = 0
  for (;;) {
    const values = claim === 'bare_claim' ? ['bare', size] : ['bare', size, low]
    const { rows } = await client.query<Claimed & Record<string, unknown>>({
      name: claim,
      text: benchSql(claim),
      values,
    })
    if (rows.length === 0) return finished
    for (const { id } of rows) if (BigInt(id) > BigInt(low)) low = id
    const ids = [rows.map(({ id }) => id)]
    finished += (await client.query({ name: finish, text: benchSql(finish), values: ids })).rowCount ?? 0
  }
}

/** Two use two cores, beside PostgreSQL's own work, well. */
const CLIENTS = 2

/** A claim and a finish in a transaction each, by clients that do nothing else. */
export function bareDrain(server: BenchServer, rows: number, size: number, byHand: ByHand): Contestant {
  const isOwn = byHand.claim === 'own_claim'
  const isDeleted = byHand.finish === 'bare_delete'
  return {
    name: byHand.name,
    table: isOwn ? INBOX : BARE,
    settings: `${CLIENTS} clients, ${size} rows a claim, prepared statements`,
    guarantees: `at least once; no retries, no fence; rows of a dead process stay as they are; finished rows ${isDeleted ? 'are deleted' : 'stay'}`,
    async prepare() {
      await fillInbox(server, isOwn ? 'fill_inbox' : 'fill_bare', rows)
      const { clients, close } = await bareClients(server, CLIENTS)
      let finished = 0
      const marked = allDone(server, isOwn ? 'count_inbox' : 'count_bare', rows)
      const deleted = allDone(server, 'count_bare', 0)
      return {
        async run() {
          const each = await Promise.all(clients.map((client) => claimAndFinish(client, byHand, size)))
          finished = each.reduce((sum, count) => sum + count, 0)
        },
        close,
        async check() {
          await (isDeleted ? deleted() : marked())
          if (finished !== rows) throw new Error(`${finished} of ${rows} rows were finished`)
        },
      }
    },
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
