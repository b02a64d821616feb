import { Agent, request } from 'node:http'
import { Client } from 'pg'
import { readSettings } from '../../../src/config/settings.ts'
import { createPool } from '../../../src/db/pool.ts'
import { createRunner } from '../../../src/index.ts'
import { wakeOn } from '../../../src/ingest/wakeTrigger.ts'
import { benchSql } from '../statements.ts'
import type { Racer, RacerOptions } from './racer.ts'

export const SOURCE = 'Tidemark, COMMIT in the source, wake on'
export const INTAKE = 'Tidemark, POST to the intake'
export const SEND = 'Tidemark, send of a job'

const TOKEN = 'the-token-of-the-bench'

/** One instance with the three ways in, as a config has them; the log is written, to nowhere. */
export async function tidemark({ url, started }: RacerOptions): Promise<Racer> {
  const client = new Client({ connectionString: url, application_name: 'bench' })
  await client.connect()
  await client.query(benchSql('make_push'))
  const source = { table: 'bench.push', id: 'id', createdAt: 'created_at', payload: 'body' }
  const handle = (): Promise<void> => {
    started()
    return Promise.resolve()
  }
  const runner = createRunner(
    {
      intakes: { bench_intake: {} },
      pollers: { bench_push: { source, every: '60s' } },
      processors: {
        of_source: { from: 'bench_push', contract: 'external', handle },
        of_intake: { from: 'bench_intake', contract: 'external', handle },
      },
      jobs: { bench_job: { handle } },
    },
    {
      settings: readSettings(
        { DATABASE_URL: url, PORT: '0', HOST: '127.0.0.1', INTAKE_TOKEN: TOKEN },
        { pollers: ['bench_push'] },
      ),
    },
  )
  await runner.start()
  const pool = createPool({
    url,
    applicationName: 'bench',
    connectTimeoutMs: 5_000,
    limits: { statementTimeoutMs: 30_000, lockTimeoutMs: 5_000, idleInTransactionMs: 10_000 },
    max: 1,
  })
  await wakeOn(pool, 'bench_push')
  await pool.end()
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  return {
    ways: [
      {
        name: SOURCE,
        async add(n) {
          await client.query({ name: 'push', text: benchSql('push'), values: [n] })
        },
      },
      {
        name: INTAKE,
        add: (n) => post(`${runner.address ?? ''}/inbox/bench_intake`, agent, n),
      },
      {
        name: SEND,
        async add(n) {
          await runner.send('bench_job', { n })
        },
      },
    ],
    async close() {
      agent.destroy()
      await runner.stop()
      await client.end()
    },
  }
}

/** By Node's own client: `fetch` would add its own work to each turn. */
function post(address: string, agent: Agent, n: number): Promise<void> {
  const body = JSON.stringify({ message_id: `n-${n}`, payload: { n } })
  return new Promise((resolve, reject) => {
    const sent = request(
      address,
      {
        agent,
        method: 'POST',
        headers: {
          authorization: `Bearer ${TOKEN}`,
          'content-type': 'application/json',
          'content-length': Buffer.byteLength(body),
        },
      },
      (answer) => {
        answer.resume()
        answer.once('end', () => {
          if (answer.statusCode === 202) resolve()
          else reject(new Error(`the intake answered ${answer.statusCode ?? 'nothing'}`))
        })
      },
    )
    sent.once('error', reject)
    sent.end(body)
  })
}
