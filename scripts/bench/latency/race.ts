import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { loadPeer } from '../peers.ts'
import { NO_REDIS, startRedis } from '../redis.ts'
import type { BenchServer } from '../server.ts'
import type { RacerServers, Said, Turn } from './racer.ts'

/*
 * How soon a handler starts on an idle system, one at a time. Who adds and who handles are one process, so one clock measures
 * both, from before the statement that adds to the first line of the handler; and every contestant has a process of its own,
 * since in a shared one each would wait for the others' timers, polls and garbage.
 *
 * They take turns: what else the machine does falls on all alike. Between two turns of one contestant lie the turns of all
 * others, so each is asleep again. Rests differ in length, or a contestant could fall into step with its own polling or
 * with somebody's heartbeat, and meet it in every turn or in none.
 */

const CHILD = join(import.meta.dirname, 'child.ts')

/** Between two turns, in milliseconds: so much at least, and twice as much at most. */
const REST_MS = 30

/** First turns are of warm-up: connections, plans, compiled code. */
const WARM_UP = 20

/** What the turns of one way took, in milliseconds. */
export interface Times {
  readonly toHandlerMs: number[]
  /** Until whoever added had its answer; the handler may have been quicker. */
  readonly toAnswerMs: number[]
}

/** In order of the table; what needs Redis is asked for only where there is one. */
const RACERS = ['tidemark', 'boss', 'graphile', 'bull', 'bare']

interface Runner {
  readonly ways: readonly string[]
  turn(turn: Turn): Promise<{ toHandlerMs: number; toAnswerMs: number }>
  end(): Promise<void>
}

/** @returns what each way took, by its name */
export async function race(
  server: BenchServer,
  turns: number,
  tell: (what: string) => void,
): Promise<ReadonlyMap<string, Times>> {
  await loadPeer('pg-boss') // installs what is lacking, with an environment that the racers have not
  const redis = await startRedis()
  if (redis === undefined) process.stderr.write(`${NO_REDIS}\n`)
  const runners: Runner[] = []
  const times = new Map<string, Times>()
  try {
    // One after the other: each makes a schema, or looks whether it is there.
    for (const name of RACERS)
      if (name !== 'bull' || redis !== undefined)
        runners.push(await startRacer(name, { url: server.url, redis: redis?.connection }))
    for (const { ways } of runners)
      for (const way of ways) times.set(way, { toHandlerMs: [], toAnswerMs: [] })
    for (let n = 0; n < WARM_UP + turns; n += 1) {
      tell(`latency: turn ${n + 1} of ${WARM_UP + turns}`)
      for (const runner of runners) {
        for (const way of runner.ways) {
          await pause(REST_MS * (1 + Math.random()))
          const { toHandlerMs, toAnswerMs } = await runner.turn({ way, n })
          if (n < WARM_UP) continue
          times.get(way)?.toHandlerMs.push(toHandlerMs)
          times.get(way)?.toAnswerMs.push(toAnswerMs)
        }
      }
    }
  } finally {
    await Promise.all(runners.map((runner) => runner.end()))
    await redis?.end()
  }
  return times
}

async function startRacer(name: string, servers: RacerServers): Promise<Runner> {
  const child = fork(CHILD, [name], {
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    env: { PATH: process.env['PATH'], BENCH_SERVERS: JSON.stringify(servers) },
  })
  // Nothing outlives the bench, however that ends.
  const kill = (): void => void child.kill('SIGKILL')
  process.once('exit', kill)
  const gone = once(child, 'exit').then(() => process.removeListener('exit', kill))
  const first = await next(name, child)
  return {
    ways: 'ways' in first ? first.ways : [],
    async turn(turn) {
      const said = next(name, child)
      child.send(turn)
      const answer = await said
      if ('toHandlerMs' in answer) return answer
      throw new Error(`${name} did not answer a turn`)
    },
    async end() {
      child.kill('SIGTERM')
      await gone
    },
  }
}

/** What it says next; throws when it ends or fails instead. */
async function next(name: string, child: ChildProcess): Promise<Said> {
  const done = new AbortController()
  try {
    const { signal } = done
    const message = once(child, 'message', { signal }) as Promise<[Said]>
    const exit = once(child, 'exit', { signal }).then(() => Promise.reject(new Error(`${name} has ended`)))
    const [said] = await Promise.race([message, exit])
    if ('failure' in said) throw new Error(`${name}: ${said.failure}`)
    return said
  } finally {
    done.abort()
  }
}
