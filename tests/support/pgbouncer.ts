import { spawn } from 'node:child_process'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { Client } from 'pg'
import { freePort } from './port.ts'
import { findOnPath } from './program.ts'
import type { Scope } from './scope.ts'
import { until } from './until.ts'

const PROGRAM = findOnPath('pgbouncer') ?? findOnPath('pgbouncer', '/usr/sbin')

/** Why tests through PgBouncer cannot run here, or false. */
export const pgbouncerMissing: string | false =
  PROGRAM === undefined && 'pgbouncer is not on the PATH (package pgbouncer)'

export type PoolMode = 'session' | 'transaction' | 'statement'

/** A user that may come through by name, with the password it has at the server. */
export interface PooledUser {
  readonly name: string
  readonly password: string
}

export interface PgBouncer {
  readonly port: number
  end(): Promise<void>
}

/**
 * A real PgBouncer before the server of this address, as it comes but for its mode. Returns the address through it. Whoever
 * comes is the user of the address.
 */
export async function pgbouncer(scope: Scope, url: string, mode: PoolMode): Promise<string> {
  const running = await startPgbouncer(url, mode)
  // Before the database is dropped, since its connections outlive those of its clients.
  scope.after(() => running.end())
  const through = new URL(url)
  through.hostname = '127.0.0.1'
  through.port = String(running.port)
  return through.href
}

/** The same without a test around it. With `users` everybody is who he says he is, and nobody else comes in. */
export async function startPgbouncer(
  url: string,
  mode: PoolMode,
  users: readonly PooledUser[] = [],
): Promise<PgBouncer> {
  if (PROGRAM === undefined) throw new Error('no pgbouncer here')
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-pgbouncer-'))
  // It refuses to run as root, and as somebody else it must still read its files.
  await chmod(folder, 0o755)
  const list = join(folder, 'users.txt')
  const quoted = (text: string): string => `"${text.replaceAll('"', '""')}"`
  await writeFile(list, users.map(({ name, password }) => `${quoted(name)} ${quoted(password)}\n`).join(''))
  let running = await launch(PROGRAM, folder, url, mode, users.length > 0 ? list : undefined)
  const end = async (): Promise<void> => {
    const { child, ended } = running
    child.kill('SIGINT')
    const hard = setTimeout(() => child.kill('SIGKILL'), 5_000)
    await ended
    clearTimeout(hard)
    await rm(folder, { recursive: true, force: true })
  }
  try {
    await until('PgBouncer to answer', async () => {
      const { port, said, state } = running
      const has = (text: string): boolean => said.some((line) => line.includes(text))
      if (state.ended) {
        if (!has('Address already in use')) throw new Error(`PgBouncer ended:\n${said.join('\n')}`)
        running = await launch(PROGRAM, folder, url, mode, users.length > 0 ? list : undefined)
        return false
      }
      // Before that, whoever was quicker to take the port might answer.
      return has(`listening on 127.0.0.1:${port}`) && answers(url, port)
    })
  } catch (error) {
    await end()
    throw error
  }
  return { port: running.port, end }
}

async function launch(
  program: string,
  folder: string,
  url: string,
  mode: PoolMode,
  list: string | undefined,
) {
  const port = await freePort()
  const ini = join(folder, 'pgbouncer.ini')
  await writeFile(ini, settings(new URL(url), port, mode, list))
  const child = spawn(program, [...(process.getuid?.() === 0 ? ['-u', 'nobody'] : []), ini], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const said: string[] = []
  // One that serves a whole run says more than anybody reads.
  createInterface(child.stderr).on('line', (line) => said.length < LINES_KEPT && said.push(line))
  const state = { ended: false }
  const ended = new Promise<void>((done) => child.once('close', () => done()))
  void ended.then(() => (state.ended = true))
  return { port, child, said, state, ended }
}

const LINES_KEPT = 1_000

function settings(server: URL, port: number, mode: PoolMode, list: string | undefined): string {
  const user = decodeURIComponent(server.username)
  const password = decodeURIComponent(server.password).replaceAll("'", "''")
  const forced = list === undefined ? ` user=${user} password='${password}'` : ''
  return `[databases]
* = host=${server.hostname} port=${server.port}${forced}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
${list === undefined ? 'auth_type = any' : `auth_type = trust\nauth_file = ${list}`}
pool_mode = ${mode}
default_pool_size = 30
max_client_conn = ${list === undefined ? 300 : 1_000}
server_idle_timeout = ${list === undefined ? 5 : 1}
`
}

async function answers(url: string, port: number): Promise<boolean> {
  const through = new URL(url)
  through.hostname = '127.0.0.1'
  through.port = String(port)
  const client = new Client({ connectionString: through.href })
  client.on('error', () => undefined)
  try {
    await client.connect()
    return true
  } catch {
    return false
  } finally {
    await client.end().catch(() => undefined)
  }
}
