import { bare } from './bare.ts'
import { boss } from './boss.ts'
import { bull } from './bull.ts'
import { graphile } from './graphile.ts'
import type { MakeRacer, RacerServers, Said, Turn } from './racer.ts'
import { tidemark } from './tidemark.ts'

/** The process of one contestant: opens it, and does one turn at each message. */

const RACERS: Readonly<Record<string, MakeRacer>> = { tidemark, boss, graphile, bull, bare }

/** A turn that takes longer has failed. */
const LIMIT_MS = 30_000

const [, , name = ''] = process.argv
const servers = JSON.parse(process.env['BENCH_SERVERS'] ?? '{}') as RacerServers

function say(said: Said): void {
  process.send?.(said)
}

function fail(error: unknown): void {
  say({ failure: error instanceof Error ? (error.stack ?? error.message) : String(error) })
}

let resolveStarted: (at: number) => void = () => undefined

async function main(): Promise<void> {
  const make = RACERS[name]
  if (make === undefined) throw new Error(`there is no contestant ${name}`)
  const racer = await make({ ...servers, started: () => resolveStarted(performance.now()) })
  const ways = new Map(racer.ways.map((way) => [way.name, way]))
  process.once('SIGTERM', () => {
    void racer.close().finally(() => process.exit())
  })
  process.on('message', ({ way, n }: Turn) => {
    void turn(n, (at) => ways.get(way)?.add(at)).catch(fail)
  })
  say({ ways: [...ways.keys()] })
}

/** The handler may be there before the answer is. */
async function turn(n: number, add: (n: number) => Promise<void> | undefined): Promise<void> {
  const begun = new Promise<number>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`the handler of ${name} did not start`)), LIMIT_MS)
    resolveStarted = (at) => {
      clearTimeout(timer)
      resolve(at)
    }
  })
  const before = performance.now()
  const answered = Promise.resolve(add(n)).then(() => performance.now())
  const [handler, answer] = await Promise.all([begun, answered])
  say({ toHandlerMs: handler - before, toAnswerMs: answer - before })
}

await main().catch(fail)
