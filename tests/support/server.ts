import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { useEmbedded } from '../../src/db/embedded.ts'

/** Set by scripts/test.ts: one server for all test files of a run. */
export const SERVER_VARIABLE = 'TIDEMARK_TEST_SERVER'

export interface ThrowawayServer {
  readonly url: string
  /** Stops the server and removes its files. */
  end(): Promise<void>
}

/** A server for tests alone: real, but it need not survive the machine. */
export async function throwawayServer(): Promise<ThrowawayServer> {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-test-'))
  const server = await useEmbedded(folder, {
    durable: false,
    // Several test files share it, each with pools and prepared transactions of its own.
    settings: { max_connections: '300', max_prepared_transactions: '100' },
  })
  const end = async (): Promise<void> => {
    await server.leave()
    rmSync(folder, { recursive: true, force: true })
  }
  return { url: server.url, end }
}
