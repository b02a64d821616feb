import { fork, spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from '../../../tests/support/port.ts'
import { quoteIdentifier } from '../../../src/db/identifier.ts'
import type { BenchPart } from '../part.ts'
import { loadPeer, peerVersion } from '../peers.ts'
import { cpuMs, NODE_FLAGS } from '../process.ts'
import { publishedBin } from '../published.ts'
import type { BenchServer } from '../server.ts'
import { benchSql } from '../statements.ts'
import { EXISTING, startOf, startText, startVerdicts } from './report.ts'
import type { Started } from './report.ts'

/*
 * How long a real process takes from its spawn until it works, in turns: Tidemark until `/ready` answers 200, its peers until
 * the first line of the handler of a job that they send to themselves, Node until its first line. All run on a schema that is
 * there; Tidemark also on an empty database, which it migrates. The first turn of each is left out: it makes schemas, and
 * fills the caches of the disk.
 */

const PEER = join(import.meta.dirname, 'peer.ts')
/** Says that it is there, and stays. */
const BARE_NODE = "process.send('started'); setInterval(() => {}, 60_000)"

/** Looks for `/ready`; each is a request that the process answers, too. */
const LOOK_MS = 20

/** A process that has not started by then never will. */
const LIMIT_MS = 60_000

const EMPTY = 'Tidemark, to ready, on an empty database'
const BARE = 'bare Node, to its first line'

const CONFIG = `
const source = { table: 'bench.start', id: 'id', createdAt: 'created_at' }
export default {
  pollers: { first: { source, every: '60s' } },
  processors: { one: { from: 'first', contract: 'external', handle() {} } },
  jobs: { each_year: { cron: '0 0 1 1 *', handle() {} } },
}
`

export const start: BenchPart = {
  name: 'start',
  about: 'from the spawn of a process until it works, beside pg-boss, graphile-worker and bare Node',
  async run(server, { rounds }, tell) {
    // Installs what is lacking: its process would do that within its time, and without the environment that npm needs.
    await loadPeer('pg-boss')
    const folder = mkdtempSync(join(tmpdir(), 'tidemark-bench-start-'))
    const config = join(folder, 'tidemark.config.mjs')
    writeFileSync(config, CONFIG)
    await server.query(benchSql('make_start'))
    const contestants = new Map<string, () => Promise<Started>>([
      [BARE, bareNode],
      [EXISTING, () => tidemark(server.url, config)],
      [EMPTY, () => onEmptyDatabase(server, config)],
      [`${peerVersion('pg-boss')}, to its first job`, () => peer('pg-boss', server.url)],
      [`${peerVersion('graphile-worker')}, to its first job`, () => peer('graphile-worker', server.url)],
    ])
    const times = new Map([...contestants.keys()].map((name) => [name, [] as Started[]]))
    try {
      for (let round = 0; round <= rounds; round += 1) {
        for (const [name, run] of contestants) {
          tell(`start: round ${round} of ${rounds}: ${name}`)
          const started = await run()
          if (round > 0) times.get(name)?.push(started)
        }
      }
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
    const result = startOf(times)
    return { json: result, text: startText(result), verdicts: startVerdicts(result) }
  },
}

async function onEmptyDatabase(server: BenchServer, config: string): Promise<Started> {
  const name = 'bench_start'
  const database = quoteIdentifier(name)
  await server.query(`CREATE DATABASE ${database}`)
  try {
    const url = new URL(server.url)
    url.pathname = `/${name}`
    return await tidemark(url.href, config)
  } finally {
    await server.query(`DROP DATABASE ${database} WITH (FORCE)`)
  }
}

async function tidemark(url: string, config: string): Promise<Started> {
  const bin = await publishedBin()
  const port = await freePort()
  return timed(
    () =>
      spawn(process.execPath, [...NODE_FLAGS, bin, 'start', '--config', config], {
        stdio: 'ignore',
        env: { PATH: process.env['PATH'], DATABASE_URL: url, HOST: '127.0.0.1', PORT: String(port) },
      }),
    async (_child, signal) => {
      for (;;) {
        try {
          if ((await fetch(`http://127.0.0.1:${port}/ready`, { signal })).status === 200) return
        } catch {
          signal.throwIfAborted()
        }
        await new Promise((done) => setTimeout(done, LOOK_MS))
      }
    },
  )
}

function peer(name: string, url: string): Promise<Started> {
  return timed(
    () =>
      fork(PEER, [name], {
        stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
        env: { PATH: process.env['PATH'], DATABASE_URL: url },
      }),
    (child, signal) => once(child, 'message', { signal }),
  )
}

function bareNode(): Promise<Started> {
  return timed(
    () => spawn(process.execPath, ['-e', BARE_NODE], { stdio: ['ignore', 'ignore', 'ignore', 'ipc'] }),
    (child, signal) => once(child, 'message', { signal }),
  )
}

/** Spawns, waits, reads the clocks, and ends the process. */
async function timed(
  begin: () => ChildProcess,
  works: (child: ChildProcess, signal: AbortSignal) => Promise<unknown>,
): Promise<Started> {
  const before = performance.now()
  const child = begin()
  const gone = once(child, 'exit')
  const limit = AbortSignal.timeout(LIMIT_MS)
  try {
    await Promise.race([
      works(child, limit),
      gone.then(() => Promise.reject(new Error('a process of the bench ended before it worked'))),
    ])
    return { ms: performance.now() - before, cpuMs: cpuMs(child.pid ?? -1) }
  } finally {
    child.kill('SIGTERM')
    const timer = setTimeout(() => child.kill('SIGKILL'), LIMIT_MS)
    await gone
    clearTimeout(timer)
  }
}
