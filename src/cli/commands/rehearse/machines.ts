import { fileURLToPath } from 'node:url'
import type { ResolvedConfig } from '../../../config/resolved.ts'
import type { Settings } from '../../../config/settings.ts'
import { loadStatements } from '../../../db/statements.ts'
import { SESSION_CONNECTIONS, workConnections } from '../../../runner/connections.ts'

const sql = loadStatements('rehearsal_demo', ['write'])

/** What a machine runs. Compiled, the file ends otherwise, and a URL is not rewritten as an import is. */
export const PROGRAM = fileURLToPath(
  new URL(`../../rehearsed${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url),
)

/** The demo's interval suits its readers; a rehearsal that looks for silence wants a pass more often. */
const DEMO_POLLER = 'message_poller'
const DEMO_INTERVAL_S = 1

/** Writes one message of the demo's, such as its handler understands. */
export function demoInsert(): string {
  return sql.write
}

/** Intervals of the pollers as the machines will have them. */
export function intervalsOf({ pollerIntervals }: Settings, demo: boolean): ReadonlyMap<string, number> {
  return demo ? new Map([[DEMO_POLLER, DEMO_INTERVAL_S * 1000], ...pollerIntervals]) : pollerIntervals
}

/**
 * The environment of every machine: the user's own, with this database, a port of its own on this host, logs that can be
 * read here, and migrations by whoever starts first. Release and machine are added to it.
 */
export function machineEnvironment(
  database: { readonly url: string; readonly directUrl: string | undefined },
  demo: boolean,
): Readonly<Record<string, string | undefined>> {
  return {
    ...(demo ? { [`${DEMO_POLLER.toUpperCase()}_INTERVAL_SECONDS`]: String(DEMO_INTERVAL_S) } : {}),
    ...process.env,
    DATABASE_URL: database.url,
    DIRECT_DATABASE_URL: database.directUrl,
    HOST: '127.0.0.1',
    PORT: '0',
    LOG_FORMAT: 'json',
    LOG_LEVEL: 'info',
    RUN_MIGRATIONS: '1',
    // The rehearsal writes, and notes what it wrote.
    DEMO_RATE: '0',
  }
}

/** For the record of runs, in rehearsed.ts. */
const RECORD_CONNECTIONS = 4

/** Connections that one machine may hold. */
export function connectionsOf(settings: Settings, { processors }: ResolvedConfig): number {
  return workConnections(settings, processors) + SESSION_CONNECTIONS + RECORD_CONNECTIONS
}
