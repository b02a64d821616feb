import { chmodSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { useEmbedded, type EmbeddedOptions, type EmbeddedServer } from '../../src/db/embedded.ts'
import { layoutOf } from '../../src/db/embedded/cluster.ts'
import { withFolderLock } from '../../src/db/embedded/lock.ts'
import { stopPostmaster } from '../../src/db/embedded/server.ts'
import { livingUsers } from '../../src/db/embedded/users.ts'
import { programsOf, wantedMajor } from './postgres.ts'

const PREFIX = 'tidemark-test-'

/** Set by scripts/test.ts: one server for all test files of a run. */
export const SERVER_VARIABLE = 'TIDEMARK_TEST_SERVER'

export interface ThrowawayServer {
  readonly url: string
  /** Stops the server and removes its files. */
  end(): Promise<void>
}

/** A server of the test's own, in its own folder, of the major that the run is on. */
export async function useServer(folder: string, options: EmbeddedOptions = {}): Promise<EmbeddedServer> {
  return useEmbedded(folder, { ...options, ...(await programs(wantedMajor(), folder)) })
}

async function programs(major: number, folder: string): Promise<Pick<EmbeddedOptions, 'programs'>> {
  const own = await programsOf(major)
  if (own === undefined) return {}
  // Before 16 programs leave the folder that they are started in and come back by its path, under the server's account.
  chmodSync(folder, 0o711)
  return { programs: own }
}

/** A server for tests alone: real, but it need not survive the machine. Default: of the major that the run is on. */
export async function throwawayServer(major = wantedMajor()): Promise<ThrowawayServer> {
  await endAbandoned()
  const folder = mkdtempSync(join(tmpdir(), PREFIX))
  const server = await useEmbedded(folder, {
    durable: false,
    // Several test files share it, each with pools and prepared transactions of its own.
    settings: { max_connections: '300', max_prepared_transactions: '100' },
    ...(await programs(major, folder)),
  })
  const end = async (): Promise<void> => {
    await server.leave()
    rmSync(folder, { recursive: true, force: true })
  }
  return { url: server.url, end }
}

/** A run that was killed leaves its server running and nobody to stop it; the next run does. */
async function endAbandoned(): Promise<void> {
  for (const name of readdirSync(tmpdir())) {
    if (!name.startsWith(PREFIX)) continue
    const layout = layoutOf(join(tmpdir(), name))
    try {
      // Without this folder the server is only being made; without a file in it nobody was ever killed.
      if (readdirSync(layout.users).length === 0 || livingUsers(layout.users).length > 0) continue
      await withFolderLock(layout.lock, () => stopPostmaster(layout))
      rmSync(layout.root, { recursive: true, force: true })
    } catch {
      // Another user's, or being cleared away by another run at this moment.
    }
  }
}
