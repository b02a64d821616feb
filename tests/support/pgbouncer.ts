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

/** A real PgBouncer before the server of this address, as it comes but for its mode. Returns the address through it. */
export async function pgbouncer(
  scope: Scope,
  url: string,
  mode: 'session' | 'transaction' | 'statement',
): Promise<string> {
  if (PROGRAM === undefined) throw new Error('no pgbouncer here')
  const server = new URL(url)
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-pgbouncer-'))
  const user = decodeURIComponent(server.username)
  const password = decodeURIComponent(server.password)
  const ini = join(folder, 'pgbouncer.ini')
  const settings = (port: number): string => `[databases]
* = host=${server.hostname} port=${server.port} user=${user} password='${password.replaceAll("'", "''")}'
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = any
pool_mode = ${mode}
default_pool_size = 30
max_client_conn = 300
server_idle_timeout = 5
`
  // It refuses to run as root, and as somebody else it must still read its file.
  const isRoot = process.getuid?.() === 0
  await chmod(folder, 0o755)
  const start = async () => {
    const port = await freePort()
    await writeFile(ini, settings(port))
    const child = spawn(PROGRAM, [...(isRoot ? ['-u', 'nobody'] : []), ini], {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    const said: string[] = []
    createInterface(child.stderr).on('line', (line) => said.push(line))
    const state = { ended: false }
    const ended = new Promise<void>((done) => child.once('close', () => done()))
    void ended.then(() => (state.ended = true))
    return { port, child, said, state, ended }
  }
  let running = await start()
  // Before the database is dropped, since its connections outlive those of its clients.
  scope.after(async () => {
    const { child, ended } = running
    child.kill('SIGINT')
    const hard = setTimeout(() => child.kill('SIGKILL'), 5_000)
    await ended
    clearTimeout(hard)
    await rm(folder, { recursive: true, force: true })
  })
  const through = new URL(url)
  through.hostname = '127.0.0.1'
  await until('PgBouncer to answer', async () => {
    const { port, said, state } = running
    const has = (text: string): boolean => said.some((line) => line.includes(text))
    if (state.ended) {
      if (!has('Address already in use')) throw new Error(`PgBouncer ended:\n${said.join('\n')}`)
      running = await start()
      return false
    }
    // Before that, whoever was quicker to take the port might answer.
    if (!has(`listening on 127.0.0.1:${port}`)) return false
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
  })
  return through.href
}
