import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client } from 'pg'
import { layoutOf } from '../../src/db/embedded/cluster.ts'
import { findPostmaster } from '../../src/db/embedded/server.ts'
import { useEmbedded } from '../../src/db/embedded.ts'
import { quoteIdentifier } from '../../src/db/identifier.ts'
import { migrate } from '../../src/db/migrate.ts'
import { benchSql } from './statements.ts'

/** A server for the bench alone, with the durability that users have. */
export interface BenchServer {
  readonly url: string
  readonly version: string
  readonly postmasterPid: number
  /** What it logs. */
  readonly logFile: string
  /** One statement outside every clock. */
  query<R extends Record<string, unknown>>(text: string, values?: unknown[]): Promise<R[]>
  /** Stops it and removes its files. */
  end(): Promise<void>
}

/** Starts it in a temporary folder, with our schema and the bench's own tables. */
export async function startBenchServer(): Promise<BenchServer> {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-bench-'))
  const embedded = await useEmbedded(folder)
  const { log } = layoutOf(folder)
  return openDatabase(embedded.url, findPostmaster(layoutOf(folder))?.pid ?? -1, log, async () => {
    await embedded.leave()
    rmSync(folder, { recursive: true, force: true })
  })
}

/** Another database of the same server, with the same tables, so that what lies in one is measured against the other. */
export async function addDatabase(server: BenchServer, name: string): Promise<BenchServer> {
  await server.query(`CREATE DATABASE ${quoteIdentifier(name)}`)
  const url = new URL(server.url)
  url.pathname = `/${name}`
  return openDatabase(url.href, server.postmasterPid, server.logFile, async () => {
    await server.query(`DROP DATABASE ${quoteIdentifier(name)} WITH (FORCE)`)
  })
}

async function openDatabase(
  url: string,
  postmasterPid: number,
  logFile: string,
  leave: () => Promise<void>,
): Promise<BenchServer> {
  const log = { event: () => undefined }
  await migrate({ url, log, lockWaitMs: 30_000, statementTimeoutMs: 120_000 })
  const client = new Client({ connectionString: url, application_name: 'tidemark-bench' })
  // The server is ended with the bench, and may be first; the event must not end the process.
  client.on('error', () => undefined)
  await client.connect()
  await client.query(benchSql('make_tables'))
  const { rows } = await client.query<{ server_version: string }>('SHOW server_version')
  return {
    url,
    version: rows[0]?.server_version ?? 'unknown',
    postmasterPid,
    logFile,
    async query<R extends Record<string, unknown>>(text: string, values: unknown[] = []) {
      return (await client.query<R>(text, values)).rows
    },
    async end() {
      await client.end().catch(() => undefined)
      await leave()
    },
  }
}
