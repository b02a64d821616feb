import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { useEmbedded } from '../../src/db/embedded.ts'
import { layoutOf } from '../../src/db/embedded/cluster.ts'
import { findPostmaster, gone } from '../../src/db/embedded/server.ts'
import { atEnd } from '../support/scope.ts'
import type { Scope } from '../support/scope.ts'
import { until } from '../support/until.ts'

/** How a server ends. `fast` waits for nobody, `immediate` does not even write its buffers, `kill` is a crash. */
export type Ending = 'fast' | 'immediate' | 'kill'

const SIGNALS = { fast: 'SIGINT', immediate: 'SIGQUIT', kill: 'SIGKILL' } as const

/** A PostgreSQL server of one run, which the run may end and start again at the same address. */
export interface OwnServer {
  readonly url: string
  stop(how: Ending): Promise<void>
  start(): Promise<void>
}

/** Commits wait for their write, as they do by default; only what a crash of the machine needs is left out. */
export async function ownServer(
  scope: Scope,
  settings: Readonly<Record<string, string>>,
): Promise<OwnServer> {
  // The prefix by which the next run of tests finds a server that was left running.
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-test-'))
  const options = { durable: false, settings: { max_prepared_transactions: '50', ...settings } }
  let server = await useEmbedded(folder, options)
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
        useEmbedded(folder, { ...options, port: Number(port) }).catch(() => undefined),
      )
      await server.leave()
      server = again
    },
  }
}
