import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { serverAccount } from '../../src/db/embedded/account.ts'
import { HERE, layoutOf, serverEnvironment } from '../../src/db/embedded/cluster.ts'
import type { Layout } from '../../src/db/embedded/cluster.ts'
import { findPostmaster, gone, whenReady } from '../../src/db/embedded/server.ts'
import { atEnd } from '../support/scope.ts'
import type { Scope } from '../support/scope.ts'
import { useServer } from '../support/server.ts'
import { until } from '../support/until.ts'

/** How a server ends. `fast` waits for nobody, `immediate` does not even write its buffers, `kill` is a crash. */
export type Ending = 'fast' | 'immediate' | 'kill'

const SIGNALS = { fast: 'SIGINT', immediate: 'SIGQUIT', kill: 'SIGKILL' } as const

/** A PostgreSQL server of one run, which the run may end and start again at the same address. */
export interface OwnServer {
  readonly url: string
  stop(how: Ending): Promise<void>
  start(): Promise<void>
  /** Starts it with a clock that can be set. */
  startWithClock(): Promise<void>
  /** Sets the server's clock back, or ahead, of the true one. Every process of it knows within a second. */
  setClock(offSeconds: number): void
}

const FAKETIME = [
  '/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1',
  '/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1',
].find((file) => existsSync(file))

/** Why no server can be given another clock here, or false. */
export const faketimeMissing: string | false =
  FAKETIME === undefined && 'libfaketime is not here (package faketime)'

/** Commits wait for their write, as they do by default; only what a crash of the machine needs is left out. */
export async function ownServer(
  scope: Scope,
  settings: Readonly<Record<string, string>>,
): Promise<OwnServer> {
  // The prefix by which the next run of tests finds a server that was left running.
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-test-'))
  const options = { durable: false, settings: { max_prepared_transactions: '50', ...settings } }
  let server = await useServer(folder, options)
  const { port } = new URL(server.url)
  atEnd(scope, async () => {
    await server.leave()
    rmSync(folder, { recursive: true, force: true })
  })
  const layout = layoutOf(folder)
  return {
    url: server.url,
    async stop(how) {
      const postmaster = findPostmaster(layout)
      if (postmaster === undefined) throw new Error('the server does not run')
      process.kill(postmaster.pid, SIGNALS[how])
      if (!(await gone(layout, postmaster.pid))) throw new Error(`the server does not end (${how})`)
    },
    async start() {
      // Children of a killed postmaster end a moment after it, and hold its memory until then.
      const again = await until('the server to start', () =>
        useServer(folder, { ...options, port: Number(port) }).catch(() => undefined),
      )
      await server.leave()
      server = again
    },
    async startWithClock() {
      spawnWithClock(layout)
      await until('the server to start', async () => (await whenReady(layout))?.ready)
      const again = await useServer(folder, options)
      await server.leave()
      server = again
    },
    setClock: (offSeconds) => setClock(layout, offSeconds),
  }
}

/** Name of a file in the folder of the cluster, which is where the server's processes are. */
const CLOCK = 'clock'

function setClock(layout: Layout, offSeconds: number): void {
  writeFileSync(join(layout.cluster, CLOCK), `${offSeconds < 0 ? '' : '+'}${offSeconds}`, { mode: 0o644 })
}

/** The server as it was started last, with a library before the C library's clock. */
function spawnWithClock(layout: Layout): void {
  if (FAKETIME === undefined) throw new Error(String(faketimeMissing))
  setClock(layout, 0)
  const [program = '', ...rest] = readFileSync(join(layout.cluster, 'postmaster.opts'), 'utf8')
    .trim()
    .split(' "')
  const child = spawn(
    program,
    rest.map((quoted) => quoted.replace(/"$/, '')),
    {
      ...serverAccount(layout.cluster),
      cwd: layout.cluster,
      detached: true,
      stdio: 'ignore',
      env: {
        ...serverEnvironment(),
        LD_PRELOAD: FAKETIME,
        FAKETIME_TIMESTAMP_FILE: join(HERE, CLOCK),
        // Read again after a second, not at each look: a timer's signal looks at the clock too, and opening a file there can
        // go wrong (seen: a backend that crashed).
        FAKETIME_CACHE_DURATION: '1',
        FAKETIME_DONT_FAKE_MONOTONIC: '1',
        FAKETIME_DISABLE_SHM: '1',
        NO_FAKE_STAT: '1',
      },
    },
  )
  child.on('error', () => undefined)
  child.unref()
}
