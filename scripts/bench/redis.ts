import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, constants, mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { freePort } from '../../tests/support/port.ts'
import type { BullConnection } from './peerTypes.ts'

/*
 * A Redis for the bench alone, as `redis-server` starts with no configuration file: a snapshot every hour if a key changed,
 * every 5 minutes if 100 did, every minute if 10,000 did, and no append-only file. So what was acknowledged in the last minute
 * or so is lost when it dies; PostgreSQL's default loses nothing.
 */

export interface BenchRedis {
  readonly connection: BullConnection
  readonly pid: number
  readonly version: string
  /** Forgets every key. */
  empty(): Promise<void>
  end(): Promise<void>
}

export const REDIS_DURABILITY =
  'Redis with its default snapshots (save 3600 1 300 100 60 10000, no append-only file): a crash loses up to a minute or more'

export const NO_REDIS =
  'there is no redis-server on the PATH, so BullMQ is left out (apt-get install redis-server)'

const READY_LIMIT_MS = 10_000
const LOOK_MS = 20

/** The program's path, or undefined where there is none. */
export function findRedis(): string | undefined {
  return (process.env['PATH'] ?? '')
    .split(delimiter)
    .map((folder) => join(folder, 'redis-server'))
    .find((file) => {
      try {
        accessSync(file, constants.X_OK)
        return true
      } catch {
        return false
      }
    })
}

/** Starts it on a free loopback port with its files in a temporary folder; undefined where there is no redis-server. */
export async function startRedis(): Promise<BenchRedis | undefined> {
  const program = findRedis()
  if (program === undefined) return undefined
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-bench-redis-'))
  const port = await freePort()
  const server = spawn(program, ['--port', String(port), '--bind', '127.0.0.1', '--dir', folder], {
    stdio: 'ignore',
  })
  const gone = once(server, 'exit')
  const end = async (): Promise<void> => {
    // Not SIGTERM: that would write a last snapshot of what is thrown away.
    server.kill('SIGKILL')
    await gone
    rmSync(folder, { recursive: true, force: true })
  }
  // Nothing may outlive the bench, however it ends.
  const atExit = (): void => {
    server.kill('SIGKILL')
    rmSync(folder, { recursive: true, force: true })
  }
  process.once('exit', atExit)
  void gone.then(() => process.off('exit', atExit))
  try {
    const version = await readVersion(port)
    const connection = { host: '127.0.0.1', port, maxRetriesPerRequest: null }
    return {
      connection,
      pid: server.pid ?? -1,
      version,
      async empty() {
        const answer = await ask(port, 'FLUSHALL\r\n')
        if (!answer.startsWith('+OK')) throw new Error(`Redis would not forget: ${answer}`)
      },
      end,
    }
  } catch (error) {
    await end()
    throw error
  }
}

/** Asks until it answers. */
async function readVersion(port: number): Promise<string> {
  const until = performance.now() + READY_LIMIT_MS
  for (;;) {
    try {
      const answer = await ask(port, 'INFO server\r\n')
      const version = /^redis_version:(\S+)/m.exec(answer)?.[1]
      if (version !== undefined) return version
    } catch (error) {
      if (performance.now() > until) throw error
    }
    if (performance.now() > until) throw new Error('redis-server did not get ready')
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
  }
}

async function ask(port: number, command: string): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    socket.write(command)
    const [answer] = (await once(socket, 'data')) as [Buffer]
    return answer.toString()
  } finally {
    socket.destroy()
  }
}
