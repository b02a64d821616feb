import type { Client } from 'pg'
import type { Message, TransactionalContext } from '../../../src/config/types.ts'
import { bareClients } from '../contestants/bare.ts'
import { allDone, BARE, fillInbox, INBOX } from '../contestants/inbox.ts'
import { AT_ONCE, GUARANTEES, ownDrain, SETTINGS, TRANSACTIONAL } from '../contestants/own.ts'
import type { Contestant, Heat, Part } from '../part.ts'
import type { BenchServer } from '../server.ts'
import { benchSql } from '../statements.ts'

/** The handler's own write: one small UPDATE, of a row of its own, so that what is done twice shows. */
const credit = (payload: unknown): { name: string; text: string; values: unknown[] } => ({
  name: 'credit',
  text: benchSql('credit'),
  values: [(payload as { n: number }).n], // as fill_inbox and fill_bare write it
})

/** Full inbox to empty, a handler that makes one small UPDATE a message in the message's own transaction: beside the same by hand. */
export async function transactionalPart(server: BenchServer, rows: number): Promise<Part> {
  await server.query(benchSql('make_accounts'))
  const ours = withAccounts(
    server,
    rows,
    ownDrain(server, rows, {
      name: 'Tidemark, transactional',
      config: {
        ...TRANSACTIONAL,
        handle: async ({ payload }: Message, { tx }: TransactionalContext) => {
          await tx.query(credit(payload))
        },
      },
      settings: SETTINGS.transactional,
      guarantees: GUARANTEES.transactional,
    }),
  )
  const bare = byHand(server, rows, 'bare')
  const own = byHand(server, rows, 'own')
  return {
    name: 'transactional',
    title: `inbox to DONE and one small UPDATE a message in one transaction, ${AT_ONCE.transactional} at once`,
    messages: rows,
    contestants: [bare, own, ours],
    against: bare.name,
    floors: [bare, own].map(({ name }) => ({ of: ours.name, against: name, least: 0.7 })),
  }
}

/** Claims one and marks it done in one statement, inside the transaction of the handler's UPDATE: four round trips a message. */
function byHand(server: BenchServer, rows: number, table: 'bare' | 'own'): Contestant {
  const isOwn = table === 'own'
  return withAccounts(server, rows, {
    name: `by hand, ${isOwn ? 'our own layout' : 'partial index on status'}`,
    table: isOwn ? INBOX : BARE,
    settings: `${AT_ONCE.transactional} clients, prepared statements; BEGIN, take one and mark it DONE (SKIP LOCKED), the UPDATE, COMMIT`,
    guarantees:
      'effects exactly once; a failed message is NEW again at once and for ever: no attempts, no backoff, no dead letters',
    async prepare() {
      await fillInbox(server, isOwn ? 'fill_inbox' : 'fill_bare', rows)
      const { clients, close } = await bareClients(server, AT_ONCE.transactional)
      const check = allDone(server, isOwn ? 'count_inbox' : 'count_bare', rows)
      return {
        async run() {
          await Promise.all(clients.map((client) => takeAll(client, `${table}_take_one`)))
        },
        settled: check,
        close,
        check,
      }
    },
  })
}

async function takeAll(client: Client, take: string): Promise<void> {
  // What this client has taken before is not looked at again.
  let low = '0'
  for (;;) {
    await client.query('BEGIN')
    const { rows } = await client.query<{ id: string; payload: unknown }>({
      name: take,
      text: benchSql(take),
      values: [low],
    })
    const [taken] = rows
    if (taken !== undefined) await client.query(credit(taken.payload))
    await client.query('COMMIT')
    if (taken === undefined) return
    low = taken.id
  }
}

/** The same with an account a message, each of which must have been credited once. */
function withAccounts(server: BenchServer, rows: number, contestant: Contestant): Contestant {
  return {
    ...contestant,
    async prepare(): Promise<Heat> {
      await server.query('TRUNCATE bench.account')
      await server.query(benchSql('fill_accounts'), [rows])
      await server.query('VACUUM (ANALYZE) bench.account')
      const heat = await contestant.prepare()
      return {
        ...heat,
        async check() {
          await heat.check()
          const [found] = await server.query<{ once: number }>(benchSql('count_accounts'))
          if (found?.once !== rows)
            throw new Error(`${found?.once ?? 0} of ${rows} messages had their effect once`)
        },
      }
    },
  }
}
