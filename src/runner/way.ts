/**
 * How the database is reached: by which addresses, and past what. A database that comes late is waited for; one that
 * never comes ends the start with an error, and so do a pooler behind which our proofs would not hold, a server that is
 * too old and a database whose encoding is not UTF8.
 */
import type { Settings } from '../config/settings.ts'
import type { SessionAddress } from '../db/connection.ts'
import { useEmbedded } from '../db/embedded.ts'
import type { EmbeddedServer } from '../db/embedded.ts'
import { findPooling, unlimited } from '../db/pooler.ts'
import type { Pooling } from '../db/pooler.ts'
import { errorClass } from '../db/sqlstate.ts'
import { waitForDatabase } from '../db/wait.ts'
import type { Log } from '../telemetry/log.ts'

export interface Addresses {
  readonly url: string
  readonly directUrl: string
  readonly embedded: EmbeddedServer | undefined
}

/** The configured addresses, or the embedded server's, started or joined. */
export async function openAddresses(settings: Settings, log: Log): Promise<Addresses> {
  const { databaseUrl, directDatabaseUrl } = settings
  if (databaseUrl !== undefined) {
    return { url: databaseUrl, directUrl: directDatabaseUrl ?? databaseUrl, embedded: undefined }
  }
  const startedAt = performance.now()
  const embedded = await useEmbedded(settings.dataDir)
  const port = Number(new URL(embedded.url).port)
  const did = embedded.started ? 'started' : 'joined'
  log.event('embedded_ready', `embedded PostgreSQL ${did} on port ${port}`, {
    port,
    joined: !embedded.started,
    waited_ms: Math.round(performance.now() - startedAt),
  })
  return { url: embedded.url, directUrl: embedded.url, embedded }
}

/** How the database is reached. */
export interface Way {
  readonly url: string
  readonly pooling: Pooling
  /** Undefined when no session is ours. */
  readonly session: SessionAddress | undefined
}

/** A database that went away again between answering and being looked at is waited for again, so many times. */
const LOOKS = 3

/**
 * Waits for the database and looks at what stands before it. Says once what a pooler takes away; throws PoolerUnfit for
 * what cannot be done without, ServerTooOld, EncodingUnfit for a database that is not UTF8, DatabaseUnavailable when
 * nothing answers.
 */
export async function findWay(
  settings: Settings,
  { url, directUrl }: Addresses,
  log: Log,
  signal: AbortSignal,
): Promise<Way> {
  const { connectAttempts: attempts, connectTimeoutMs } = settings
  for (let look = 1; ; look += 1) {
    for (const address of new Set([directUrl, url]))
      await waitForDatabase(address, { attempts, timeoutMs: connectTimeoutMs, log, signal })
    try {
      const pooling = await findPooling(url, { connectTimeoutMs })
      const direct = directUrl === url ? pooling : await findPooling(directUrl, { connectTimeoutMs })
      const session =
        direct === 'transaction' ? undefined : { url: directUrl, startupOptions: direct === 'none' }
      if (pooling !== 'none')
        sayPooled({ url, pooling, session }, await unlimited(url, { connectTimeoutMs }), log)
      return { url, pooling, session }
    } catch (error) {
      if (errorClass(error) !== 'connection' || look === LOOKS) throw error
    }
  }
}

function sayPooled({ pooling, session }: Way, missing: readonly string[], log: Log): void {
  const consequences = [
    missing.length === 0
      ? undefined
      : `${missing.join(', ')} cannot be set here; set them with ALTER ROLE … SET, or one that hangs is ended by us alone`,
    session === undefined
      ? 'no session is ours: a leader that dies is replaced when its lease is over, not at once, notifications are not ' +
        'heard, and migrations are left to somebody with DIRECT_DATABASE_URL; set it here, too'
      : undefined,
  ].filter((part) => part !== undefined)
  const consequence = consequences.length === 0 ? 'nothing is lost by it' : consequences.join('; ')
  log.event('pooler_detected', `a pooler in ${pooling} mode stands before the database: ${consequence}`, {
    mode: pooling,
    consequence,
  })
}
