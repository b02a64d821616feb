import { setTimeout as sleep } from 'node:timers/promises'
import { Client } from 'pg'
import type { ClientConfig } from 'pg'
import { catalogFirst } from './session.ts'

/** Time limits that the server enforces for a session, in milliseconds; 0 means none. */
export interface SessionLimits {
  readonly statementTimeoutMs: number
  readonly lockTimeoutMs: number
  readonly idleInTransactionMs: number
}

export interface ConnectionOptions {
  readonly url: string
  /** Shown in `pg_stat_activity`: `tidemark:<instance>`. Dead instances' backends are found by it. */
  readonly applicationName: string
  readonly connectTimeoutMs: number
  readonly limits: SessionLimits
  /**
   * Whether limits and isolation travel as startup options. False behind a pooler, which refuses them: there they come
   * from `ALTER ROLE … SET`. Default: true.
   */
  readonly startupOptions?: boolean
}

/** An address on which a session is ours for as long as we like. */
export type SessionAddress = Pick<ConnectionOptions, 'url' | 'startupOptions'>

/**
 * How much longer than the server's limit the client waits: only a server that no longer answers reaches it. Of a short
 * limit a fifth, since a lease that is renewed under it must not be over before the wait is.
 */
const READ_GRACE_MS = 2_000
const READ_GRACE_LEAST_MS = 500

/** First keepalive probe after this much silence; a dead peer is noticed by probes, not by the next statement. */
const KEEPALIVE_DELAY_MS = 5_000

/** node-postgres settings for every connection of this process, pooled or not. */
export function connectionConfig(options: ConnectionOptions): ClientConfig {
  const { limits } = options
  return {
    connectionString: withParameters(options.url, options.applicationName, startupOptions(options)),
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEPALIVE_DELAY_MS,
    connectionTimeoutMillis: options.connectTimeoutMs,
    ...(limits.statementTimeoutMs > 0
      ? { query_timeout: limits.statementTimeoutMs + readGraceMs(limits.statementTimeoutMs) }
      : {}),
  }
}

function readGraceMs(limitMs: number): number {
  return Math.max(READ_GRACE_LEAST_MS, Math.min(READ_GRACE_MS, limitMs / 5))
}

/** `host:port/database` for messages; never user or password. */
export function addressOf(url: string): string {
  const { host, port, database } = new Client({ connectionString: url })
  return `${host}:${port}/${database ?? ''}`
}

function startupOptions({ limits, startupOptions: wanted = true }: ConnectionOptions): string | undefined {
  if (!wanted) return undefined
  return [
    `-c statement_timeout=${limits.statementTimeoutMs}`,
    `-c lock_timeout=${limits.lockTimeoutMs}`,
    `-c idle_in_transaction_session_timeout=${limits.idleInTransactionMs}`,
    // The proofs of passes and claims are for read committed, whatever the role's or the database's default says.
    String.raw`-c default_transaction_isolation=read\ committed`,
  ].join(' ')
}

/**
 * Parameters in the URL win over node-postgres' own settings, so ours go there, last: the last of a name counts.
 * `options` that the user wrote stay, before ours.
 */
function withParameters(url: string, applicationName: string, options: string | undefined): string {
  const asked = url.indexOf('?')
  const given = new URLSearchParams(asked === -1 ? '' : url.slice(asked + 1)).get('options')
  const ours = new URLSearchParams({ application_name: applicationName })
  const all = [given, options].filter((part) => part != null).join(' ')
  if (all !== '') ours.set('options', all)
  return `${url}${asked === -1 ? '?' : '&'}${ours.toString()}`
}

/**
 * One connection of its own, outside every pool, connected and with an error listener for life: `onError` hears of a
 * break between statements, which would end the process if nobody did. Close it with {@link closeClient}.
 */
export async function openClient(
  options: ConnectionOptions,
  onError?: (error: Error) => void,
): Promise<Client> {
  const client = new Client(connectionConfig(options))
  client.on('error', (error: Error) => onError?.(error))
  try {
    await client.connect()
    await catalogFirst(client)
    return client
  } catch (error) {
    await closeClient(client)
    throw error
  }
}

/** A peer that vanished never confirms the goodbye: after this long we no longer wait for it. */
const GOODBYE_MS = 1_000

/** Says goodbye and closes; never rejects, and waits a second at most. May be called again. */
export async function closeClient(client: Client): Promise<void> {
  const patience = new AbortController()
  const ended = client.end().catch(() => undefined)
  const tooLong = sleep(GOODBYE_MS, undefined, { signal: patience.signal }).catch(() => undefined)
  await Promise.race([ended, tooLong])
  patience.abort()
}
