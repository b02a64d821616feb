import { spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { EmbeddedPostgresFailed } from '../../errors.ts'
import { errorCode } from '../../kit/errorCode.ts'
import type { Account } from './account.ts'
import type { Binaries } from './binaries.ts'
import { HERE, serverEnvironment, type Layout } from './cluster.ts'
import { isPostmasterOf, processMark } from './process.ts'

const POLL_MS = 20
/** Recovery after a kill reads the log back; minutes only when there is a great deal of it. */
const START_LIMIT_MS = 120_000
/** A fast shutdown ends with a checkpoint, which is short here; past this the server is told to stop without one. */
const STOP_LIMIT_MS = 30_000
const LOG_LIMIT_BYTES = 10 * 1024 * 1024
/** Greater than any pid that Linux or macOS gives. */
const NOBODYS_PID = 2_147_483_646

/** A server process, as its own pid file tells of it. */
export interface Postmaster {
  readonly pid: number
  readonly port: number
  readonly ready: boolean
  readonly stopping: boolean
}

export interface StartOptions {
  readonly port: number | undefined
  readonly durable: boolean
  readonly settings: Readonly<Record<string, string>>
}

/** The server that runs on this cluster, if one does; starting and stopping ones too. */
export function findPostmaster(layout: Layout): Postmaster | undefined {
  const lines = readPidFile(layout)?.split('\n')
  const pid = Number(lines?.[0])
  if (lines === undefined || !(pid > 0) || !isPostmasterOf(pid, layout.cluster)) return undefined
  const status = lines[7]?.trim()
  return { pid, port: Number(lines[3]), ready: status === 'ready', stopping: status === 'stopping' }
}

/** Waits until the server accepts connections; undefined when it ended first. */
export async function whenReady(layout: Layout): Promise<Postmaster | undefined> {
  const deadline = performance.now() + START_LIMIT_MS
  for (;;) {
    const postmaster = findPostmaster(layout)
    if (postmaster === undefined || postmaster.ready) return postmaster
    if (performance.now() > deadline)
      throw new EmbeddedPostgresFailed(`not ready in time\n${logTail(layout)}`)
    await delay(POLL_MS)
  }
}

/**
 * Starts the server, as leader of a session of its own: Ctrl-C in a terminal goes to a whole process group, and the
 * server must outlive whoever started it while others use it.
 */
export async function startPostmaster(
  layout: Layout,
  binaries: Binaries,
  account: Account | undefined,
  options: StartOptions,
): Promise<Postmaster> {
  disownStalePid(layout)
  const deadline = performance.now() + START_LIMIT_MS
  for (;;) {
    const port = options.port ?? (await choosePort(layout))
    const outcome = await launch(layout, binaries, account, { ...options, port })
    if (typeof outcome !== 'string') {
      writeFileSync(layout.port, String(outcome.port))
      return outcome
    }
    // A server that was killed leaves children, which end by themselves when they notice; until then the cluster is
    // taken. A port can be lost between finding it free and using it.
    const passing =
      outcome.includes('pre-existing shared memory block') ||
      (options.port === undefined && outcome.includes('could not create any TCP/IP sockets'))
    if (!passing || performance.now() > deadline)
      throw new EmbeddedPostgresFailed(`it does not start\n${outcome}`)
    await delay(POLL_MS * 5)
  }
}

async function launch(
  layout: Layout,
  binaries: Binaries,
  account: Account | undefined,
  options: StartOptions & { port: number },
): Promise<Postmaster | string> {
  const logStart = rotateLog(layout)
  const log = openSync(layout.log, 'a', 0o600)
  const settings = Object.entries(serverSettings(options, Number(binaries.major))).flatMap(
    ([name, value]) => ['-c', `${name}=${value}`],
  )
  const child = spawn(binaries.postgres, ['-D', HERE, ...settings], {
    ...account,
    cwd: layout.cluster,
    env: serverEnvironment(),
    detached: true,
    stdio: ['ignore', log, log],
  })
  closeSync(log)
  let ended = false
  let failure: Error | undefined
  child.once('error', (error) => {
    failure = error
    ended = true
  })
  child.once('exit', () => {
    ended = true
  })
  const deadline = performance.now() + START_LIMIT_MS
  // Read through a function: the compiler cannot see that the listeners above change these.
  const state = () => ({ ended, failure })
  for (;;) {
    const { ended: over, failure: cause } = state()
    if (cause !== undefined) throw new EmbeddedPostgresFailed('it cannot be run', { cause })
    if (over) return logTail(layout, logStart)
    const postmaster = findPostmaster(layout)
    if (postmaster?.pid === child.pid && postmaster?.ready === true) {
      child.unref()
      return postmaster
    }
    if (performance.now() > deadline) {
      child.kill('SIGQUIT')
      throw new EmbeddedPostgresFailed(`not ready in time\n${logTail(layout, logStart)}`)
    }
    await delay(POLL_MS)
  }
}

/** Ends the server: open transactions are rolled back, everything committed is on disk. Waits until it is gone. */
export async function stopPostmaster(layout: Layout): Promise<void> {
  const postmaster = findPostmaster(layout)
  if (postmaster === undefined) return
  signal(postmaster.pid, 'SIGINT')
  if (await gone(layout, postmaster.pid)) return
  // Immediate shutdown: safe as well, but the next start has to recover.
  signal(postmaster.pid, 'SIGQUIT')
  if (!(await gone(layout, postmaster.pid)))
    throw new EmbeddedPostgresFailed(`process ${postmaster.pid} does not stop`)
}

/** Waits for a server that is on its way out. */
export async function gone(layout: Layout, pid: number): Promise<boolean> {
  const deadline = performance.now() + STOP_LIMIT_MS
  while (isPostmasterOf(pid, layout.cluster)) {
    if (performance.now() > deadline) return false
    await delay(POLL_MS)
  }
  return true
}

function serverSettings(
  options: { port: number; durable: boolean; settings: Readonly<Record<string, string>> },
  major: number,
) {
  return {
    // Loopback alone: no socket file, whose folder and whose path's length limit would be two more things to go wrong.
    listen_addresses: '127.0.0.1',
    port: String(options.port),
    unix_socket_directories: '',
    max_connections: '200',
    // The watermark is proven against prepared transactions too, so they must be possible here.
    max_prepared_transactions: '20',
    // A server that runs a query for a dead process notices within a second, and frees its locks.
    ...(major >= 14 ? { client_connection_check_interval: '1s' } : {}),
    cluster_name: 'tidemark',
    timezone: 'UTC',
    log_timezone: 'UTC',
    ...(options.durable ? {} : { fsync: 'off', full_page_writes: 'off' }),
    ...options.settings,
  }
}

/** The port of last time when it is free, so that an address somebody noted down goes on working. */
async function choosePort(layout: Layout): Promise<number> {
  const last = readText(layout.port)
  return (last === undefined ? undefined : await freePort(Number(last))) ?? (await freePort(0)) ?? 0
}

function freePort(wanted: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const probe = createServer()
    probe.once('error', () => resolve(undefined))
    probe.listen(wanted, '127.0.0.1', () => {
      const address = probe.address()
      probe.close(() => resolve(typeof address === 'object' ? address?.port : undefined))
    })
  })
}

/**
 * A killed server leaves its pid file, and its pid may be another program's by now (always likely in a container,
 * where pids begin at 1 again), which PostgreSQL would take for a running server. Only the pid is replaced: the rest
 * of the file is how the next server finds children of the old one that still live.
 */
function disownStalePid(layout: Layout): void {
  const text = readPidFile(layout)
  if (text === undefined || findPostmaster(layout) !== undefined) return
  const pid = Number(text.split('\n')[0])
  if (processMark(pid) === undefined && !exists(pid)) return
  writeFileSync(
    join(layout.cluster, 'postmaster.pid'),
    [NOBODYS_PID, ...text.split('\n').slice(1)].join('\n'),
  )
}

function exists(pid: number): boolean {
  try {
    return pid > 0 && process.kill(pid, 0)
  } catch {
    return false
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name)
  } catch {
    // It ended in between, which is what was wanted.
  }
}

function readPidFile(layout: Layout): string | undefined {
  return readText(join(layout.cluster, 'postmaster.pid'))
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined
    throw error
  }
}

/** Keeps the log from growing for ever; returns where the part of the next server begins. */
function rotateLog(layout: Layout): number {
  const size = statSync(layout.log, { throwIfNoEntry: false })?.size ?? 0
  if (size < LOG_LIMIT_BYTES) return size
  renameSync(layout.log, `${layout.log}.1`)
  return 0
}

function logTail(layout: Layout, from = 0): string {
  const text = readFileSync(layout.log).subarray(from).toString()
  return text.trimEnd().split('\n').slice(-12).join('\n')
}
