import type { Client } from 'pg'
import { MigrationFailed, MigrationLockBusy } from '../errors.ts'
import { cleanError } from '../telemetry/errorText.ts'
import type { Log } from '../telemetry/log.ts'
import { closeClient, openClient } from './connection.ts'
import type { SessionAddress } from './connection.ts'
import { applyFiles } from './migrate/apply.ts'
import type { OnFile } from './migrate/apply.ts'
import { syncInvariants } from './migrate/invariants.ts'
import { createLookout } from './migrate/lookout.ts'
import type { Lookout } from './migrate/lookout.ts'
import { giveLockBack, LIBRARY_LOCK, ownLock, takeLock } from './migrate/lock.ts'
import { missingObjects } from './migrate/schema.ts'
import { errorClass, isConnectionError, isRetryable } from './sqlstate.ts'

export { CODE_SCHEMA_VERSION } from './migrate/files.ts'
export { missingObjects, schemaStatus } from './migrate/schema.ts'
export type { SchemaStatus } from './migrate/schema.ts'

/**
 * Migrations, safe to run by any number of instances at once.
 *
 * One connection of its own holds two session locks for as long as it works: ours, which operators may take to hold
 * migrations off, and that of postgres-migrations, which other programs on this database may use. Both are tried and
 * polled, never waited for, so an instance can give up in time and say who is in its way. Session locks are
 * re-entrant, so the library's own endless loop for its key ends at its first try.
 *
 *     our lock ─▶ the library's ─▶ schema, own table ─▶ files ─▶ invariants ─▶ `after` (pg-boss) ─▶ both given back
 *
 * What fails on the way leaves the files before it applied and recorded; the next run goes on from there. A process
 * that dies gives both locks back with its connection. The address must be one for sessions: behind a transaction pooler
 * the locks would stay on a connection that serves somebody else.
 */
export interface MigrateOptions extends SessionAddress {
  readonly log: Pick<Log, 'event'>
  /** How long to try for the locks, and to wait for a transaction in the way of a file to end, in milliseconds. */
  readonly lockWaitMs: number
  /** Limit of each statement; files that build an index CONCURRENTLY have none. */
  readonly statementTimeoutMs: number
  /**
   * How long a statement of a file may wait at first for a lock on a table, while everybody who comes after it waits
   * too; what follows is told in migrate/lockWait.ts. Default: 5 s.
   */
  readonly lockTimeoutMs?: number
  /** Each file as it begins. */
  readonly onFile?: OnFile
  /** Runs on the same connection, under the same lock, after ours: pg-boss's own migration. */
  readonly after?: (client: Client) => Promise<void>
  /** Run every file again, and so make again what was dropped. */
  readonly repair?: boolean
  /** Shown in `pg_stat_activity`, and to those who find the lock taken. Default: `tidemark:migrate`. */
  readonly applicationName?: string
  /** Default: 5 s. */
  readonly connectTimeoutMs?: number
  /** Gives up the wait for a lock, that of a file after its present try; a file that runs is not cut short. */
  readonly signal?: AbortSignal
}

export interface MigrateResult {
  /** Files applied by this run, in order; with `repair` every file. */
  readonly applied: readonly string[]
  readonly waitedMs: number
  readonly heldMs: number
  /** Objects that should be there and are not; `repair` makes them again. */
  readonly missing: readonly string[]
}

const APPLICATION = 'tidemark:migrate'

/** A look at who is in the way takes milliseconds. */
const LOOK_LIMITS = { statementTimeoutMs: 5_000, lockTimeoutMs: 0, idleInTransactionMs: 0 }

/**
 * Brings the schema to this release's version. Throws {@link MigrationLockBusy} when a lock was not free in time,
 * {@link MigrationFailed} when a file failed, RepairRefused, or the connection's error. What time may mend ({@link
 * isBusy}, and a connection that broke) is for the caller to say; the rest is said here, as `migration_failed`.
 */
export async function migrate(options: MigrateOptions): Promise<MigrateResult> {
  const { url, startupOptions = true, applicationName = APPLICATION, connectTimeoutMs = 5_000 } = options
  const address = { url, startupOptions, connectTimeoutMs }
  const client = await openClient({
    ...address,
    applicationName,
    // Set on the session later, file by file: a limit of the client's own would cut an index build short.
    limits: { statementTimeoutMs: 0, lockTimeoutMs: 0, idleInTransactionMs: 60_000 },
  })
  const lookout = createLookout({ ...address, applicationName: 'tidemark:lookout', limits: LOOK_LIMITS })
  try {
    return await underLocks(client, options, () => work(client, lookout, options))
  } catch (error) {
    if (!isBusy(error) && !isConnectionError(error) && options.signal?.aborted !== true)
      sayFailed(options.log, error)
    throw error
  } finally {
    await Promise.all([closeClient(client), lookout.close()])
  }
}

/** Whether a lock that somebody else holds was in the way to the end: what came before it stays; try again later. */
export function isBusy(error: unknown): error is Error {
  // What has an SQLSTATE is an Error.
  return error instanceof MigrationLockBusy || isRetryable(error)
}

async function work(client: Client, lookout: Lookout, options: MigrateOptions): Promise<Done> {
  const { log, statementTimeoutMs, lockTimeoutMs = 5_000, repair = false, after } = options
  const start = performance.now()
  const wait = {
    limits: { statementTimeoutMs, lockTimeoutMs },
    lookout,
    applicationName: options.applicationName ?? APPLICATION,
    holdOffMs: options.lockWaitMs,
    log,
    signal: options.signal,
  }
  const applied = await applyFiles(client, { wait, repair, onFile: options.onFile })
  const missing = await missingObjects(client)
  // Its table may be among the missing; that is for --repair to mend and for the caller to say, not to fail on.
  if (!missing.includes('service_ops.invariant')) await syncInvariants(client)
  await after?.(client)
  sayDone(log, applied, repair, Math.round(performance.now() - start))
  return { applied, missing }
}

type Done = Pick<MigrateResult, 'applied' | 'missing'>

async function underLocks(
  client: Client,
  options: MigrateOptions,
  fn: () => Promise<Done>,
): Promise<MigrateResult> {
  const { log, lockWaitMs, statementTimeoutMs, signal } = options
  const own = await ownLock(client)
  const waitedForOwn = await takeLock(client, own, { waitMs: lockWaitMs, log, signal })
  const waitMs = Math.max(0, lockWaitMs - waitedForOwn)
  const waitedMs = waitedForOwn + (await takeLock(client, LIBRARY_LOCK, { waitMs, log, signal }))
  const start = performance.now()
  log.event('migration_lock_acquired', 'migration lock acquired', {
    waited_ms: waitedMs,
    statement_timeout_s: statementTimeoutMs / 1_000,
  })
  try {
    const done = await fn()
    await giveLockBack(client, LIBRARY_LOCK)
    await giveLockBack(client, own)
    return { ...done, waitedMs, heldMs: Math.round(performance.now() - start) }
  } finally {
    // After a failure the end of the connection, which follows at once, gives both back.
    const heldMs = Math.round(performance.now() - start)
    log.event('migration_lock_released', 'migration lock released', { held_ms: heldMs })
  }
}

function sayDone(
  log: Pick<Log, 'event'>,
  applied: readonly string[],
  repair: boolean,
  durationMs: number,
): void {
  if (applied.length === 0) {
    log.event('migrations_skipped', 'schema is up to date', { names: [], reason: 'up to date' })
    return
  }
  const msg = repair ? `${applied.length} migrations run again` : `${applied.length} migrations applied`
  log.event('migrations_applied', msg, { names: applied, duration_ms: durationMs })
}

function sayFailed(log: Pick<Log, 'event'>, error: unknown): void {
  const names = error instanceof MigrationFailed && error.file !== null ? { names: [error.file] } : {}
  const { text } = cleanError(error)
  log.event('migration_failed', `migration failed: ${text}`, { class: errorClass(error), text, ...names })
}
