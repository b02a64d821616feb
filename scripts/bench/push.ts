import { run as runGraphile, Logger } from 'graphile-worker'
import { PgBoss } from 'pg-boss'
import { readSettings } from '../../src/config/settings.ts'
import { createPool } from '../../src/db/pool.ts'
import { wakeOn } from '../../src/ingest/wakeTrigger.ts'
import { createRunner } from '../../src/runner.ts'
import { createLog } from '../../src/telemetry/log.ts'
import { median } from './report.ts'
import type { BenchServer } from './server.ts'
import { benchSql } from './statements.ts'

/*
 * How soon a handler starts. Each contestant is idle, gets one row or job, and is idle again before its next one; they
 * take turns, so what else the machine does falls on all alike. The clock runs from before the statement that adds it,
 * its COMMIT included, to the first line of the handler.
 */

/** From before the INSERT to the first line of the handler, at the median, in milliseconds. */
const MOST_MS = 10

/** Between two turns: all are asleep again. */
const REST_MS = 100

/** A turn that takes longer has failed. */
const LIMIT_MS = 30_000

/** First turns are of warm-up: connections, plans, compiled code. */
const WARM_UP = 10

interface Racer {
  readonly name: string
  /** Adds one; its number comes back through `started`. */
  add(n: number): Promise<void>
  close(): Promise<void>
}

export interface PushFigures {
  readonly contestant: string
  readonly p50: number
  readonly p95: number
  readonly max: number
}

export interface PushResult {
  readonly title: string
  readonly turns: number
  readonly figures: readonly PushFigures[]
  readonly floor: {
    readonly of: string
    readonly most: number
    readonly p50: number
    readonly reached: boolean
  }
}

const OURS = 'Tidemark, wake on'

export async function measurePush(server: BenchServer, turns: number): Promise<PushResult> {
  let resolveStarted: (at: number) => void = () => undefined
  const started = (): void => resolveStarted(performance.now())
  const racers: Racer[] = []
  const times = new Map<string, number[]>()
  try {
    for (const make of [tidemark, graphile, boss]) racers.push(await make(server, started))
    for (let turn = 0; turn < WARM_UP + turns; turn += 1) {
      for (const racer of racers) {
        const begun = new Promise<number>((resolve, reject) => {
          const timer = setTimeout(() => reject(new Error(`${racer.name} did not start`)), LIMIT_MS)
          resolveStarted = (at) => {
            clearTimeout(timer)
            resolve(at)
          }
        })
        const at = performance.now()
        await racer.add(turn)
        const took = (await begun) - at
        if (turn >= WARM_UP) times.set(racer.name, [...(times.get(racer.name) ?? []), took])
        await new Promise((resolve) => setTimeout(resolve, REST_MS))
      }
    }
  } finally {
    for (const racer of racers) await racer.close()
  }
  const figures = [...times].map(([contestant, all]): PushFigures => {
    const sorted = all.toSorted((a, b) => a - b)
    const p95 = sorted[Math.floor(sorted.length * 0.95)] ?? Number.NaN
    return { contestant, p50: median(sorted), p95, max: sorted.at(-1) ?? Number.NaN }
  })
  const p50 = figures.find(({ contestant }) => contestant === OURS)?.p50 ?? Number.NaN
  return {
    title: 'from before the statement that adds it to the start of the handler, one at a time',
    turns,
    figures,
    floor: { of: OURS, most: MOST_MS, p50, reached: p50 <= MOST_MS },
  }
}

/** The result as people read it. */
export function pushText({ title, turns, figures, floor }: PushResult): string {
  const lines = figures.map(
    ({ contestant, p50, p95, max }) =>
      `  ${contestant.padEnd(24)} p50 ${p50.toFixed(1).padStart(6)} ms   p95 ${p95.toFixed(1).padStart(6)} ms   max ${max.toFixed(1).padStart(7)} ms`,
  )
  return `\npush: ${title}, ${turns} turns\n${lines.join('\n')}\n${pushFloorLine(floor)}\n`
}

export function pushFloorLine({ of, most, p50, reached }: PushResult['floor']): string {
  return `${reached ? 'reached' : 'MISSED'}: ${of} p50 ${p50.toFixed(1)} ms (at most ${most})`
}

/** A poller by the minute that inserts wake, in this process as everything here is. */
async function tidemark(server: BenchServer, started: () => void): Promise<Racer> {
  await server.query(benchSql('make_push'))
  const pool = createPool({
    url: server.url,
    applicationName: 'bench',
    connectTimeoutMs: 5_000,
    limits: { statementTimeoutMs: 30_000, lockTimeoutMs: 5_000, idleInTransactionMs: 10_000 },
    max: 2,
  })
  const source = { table: 'bench.push', id: 'id', createdAt: 'created_at' }
  const runner = createRunner(
    {
      pollers: { bench_push: { source, every: '60s' } },
      processors: {
        bench_push_processor: {
          from: 'bench_push',
          contract: 'external',
          handle: () => {
            started()
            return Promise.resolve()
          },
        },
      },
    },
    {
      settings: readSettings({ DATABASE_URL: server.url, PORT: '0', HOST: '127.0.0.1' }),
      log: createLog({ service: 'bench', instanceId: 'bench', level: 'critical' }),
    },
  )
  await runner.start()
  await wakeOn(pool, 'bench_push')
  return {
    name: OURS,
    async add() {
      await pool.query(benchSql('push'), [])
    },
    async close() {
      await runner.stop()
      await pool.end()
    },
  }
}

async function graphile(server: BenchServer, started: () => void): Promise<Racer> {
  const runner = await runGraphile({
    connectionString: server.url,
    concurrency: 10,
    noHandleSignals: true,
    logger: new Logger(() => () => undefined),
    taskList: { push: () => started() },
  })
  return {
    name: 'graphile-worker',
    async add(n) {
      await runner.addJob('push', { n })
    },
    close: () => runner.stop(),
  }
}

async function boss(server: BenchServer, started: () => void): Promise<Racer> {
  const pg = new PgBoss({ connectionString: server.url, schema: 'bench_boss', useListenNotify: true })
  pg.on('error', () => undefined)
  await pg.start()
  await pg.createQueue('push', { notify: true })
  await pg.work('push', () => {
    started()
    return Promise.resolve()
  })
  return {
    name: 'pg-boss, notify',
    async add(n) {
      await pg.send('push', { n })
    },
    close: () => pg.stop(),
  }
}
