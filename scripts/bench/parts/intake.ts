import { startInstance } from '../instance.ts'
import type { BenchInstance } from '../instance.ts'
import { bodyOf, distinctOf, idOf, sendAll } from '../load.ts'
import type { Contestant, Heat, Part } from '../part.ts'
import type { BenchServer } from '../server.ts'
import { benchSql } from '../statements.ts'
import { bareClients } from '../contestants/bare.ts'

const TABLE = 'service_ops.integration_inbox'
const CONNECTIONS = 50
/** As many as a work pool has by default. */
const CLIENTS = 10
const WARM_UP = 10_000
/** What was promised of half the peak rate. */
const P99_MOST_MS = 50

const INTAKE = `export default { intakes: { bench: {} } }`
const WHOLE = `export default {
  intakes: { bench: {} },
  processors: { taking: { from: 'bench', contract: 'external', concurrency: 200, handle() {} } },
}`

/**
 * Messages by HTTP into the inbox, one a request, a third of them repeats: real processes under a load tool, against clients
 * that write to the table themselves, one message a commit. `node` is the load tool's own work here.
 */
export function intakePart(server: BenchServer, rows: number): Part {
  async function start(): Promise<void> {
    await server.query(benchSql('empty'))
    await server.query('CHECKPOINT')
  }

  async function check(): Promise<void> {
    const [found] = await server.query<{ rows: number }>(benchSql('count_inbox'))
    if (found?.rows !== distinctOf(rows))
      throw new Error(`${found?.rows ?? 0} taken in, of ${distinctOf(rows)}`)
  }

  const bare: Contestant = {
    name: `bare INSERT … ON CONFLICT, ${CLIENTS} clients`,
    table: TABLE,
    async prepare(): Promise<Heat> {
      await start()
      const { clients, close } = await bareClients(server, CLIENTS)
      return {
        async run() {
          await Promise.all(
            clients.map(async (client, first) => {
              for (let n = first; n < rows; n += CLIENTS) {
                const values = [idOf(n), bodyOf(n)]
                await client.query({ name: 'bare_take', text: benchSql('bare_take'), values })
              }
            }),
          )
        },
        close,
        check,
      }
    },
  }

  async function prepared(config: string): Promise<BenchInstance> {
    await start()
    return startInstance(server, config)
  }

  const byHttp: Contestant = {
    name: `Tidemark by HTTP, ${CONNECTIONS} connections`,
    table: TABLE,
    async prepare(): Promise<Heat> {
      const instance = await prepared(INTAKE)
      return {
        async run() {
          await sendAll({ ...instance, connections: CONNECTIONS }, rows)
        },
        close: () => instance.end(),
        check,
      }
    },
  }

  /** What was taken in is processed beside it, and all of it once. */
  const restarted: Contestant = {
    name: 'Tidemark, processing it too, restarted in the middle',
    table: TABLE,
    async prepare(): Promise<Heat> {
      const instance = await prepared(WHOLE)
      return {
        async run() {
          let restart: Promise<void> | undefined
          await sendAll({ ...instance, connections: CONNECTIONS }, rows, {
            onTaken(taken) {
              if (taken >= rows / 2) restart ??= instance.restart()
            },
          })
          await restart
          for (let open = 1; open > 0;) {
            const [found] = await server.query<{ open: number }>(benchSql('count_processed'))
            open = found?.open ?? 0
            if (open > 0) await new Promise((resolve) => setTimeout(resolve, 20))
          }
        },
        close: () => instance.end(),
        async check() {
          await check()
          const [found] = await server.query<{ again: number }>(benchSql('count_processed'))
          if (found?.again !== 0) throw new Error(`${found?.again ?? 0} messages had more than one attempt`)
        },
      }
    },
  }

  return {
    name: 'intake',
    title: `requests to inbox, one message each, a third of them repeats`,
    messages: rows,
    contestants: [bare, byHttp, restarted],
    against: bare.name,
    floors: [],
    async limits(speedOf) {
      const instance = await prepared(INTAKE)
      try {
        const rate = Math.max(CONNECTIONS, Math.round(speedOf(byHttp.name) / 2))
        const load = { ...instance, connections: CONNECTIONS }
        // A process that has just started compiles what it runs, which is told of the others as speed.
        await sendAll(load, Math.min(rows, WARM_UP))
        await server.query(benchSql('empty_inbox'))
        const { p99Ms } = await sendAll(load, rows, { rate })
        await check()
        return [
          { of: `p99 at half the peak, ${rate} requests/s`, value: p99Ms, unit: 'ms', most: P99_MOST_MS },
        ]
      } finally {
        await instance.end()
      }
    },
  }
}
