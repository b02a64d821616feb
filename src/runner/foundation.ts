/**
 * What everything stands on: a schema that fits, and connections to it.
 *
 * A schema that does not fit does not end the start: the instance stays up, not ready, says what is wrong, and looks again, since a migration by somebody
 * else may be under way.
 */
import type { Settings } from '../config/settings.ts'
import type { Identity } from '../config/identity.ts'
import type { SessionAddress } from '../db/connection.ts'
import { isBusy, migrate, schemaStatus } from '../db/migrate.ts'
import type { SchemaStatus } from '../db/migrate.ts'
import { createPool } from '../db/pool.ts'
import type { Pool } from '../db/pool.ts'
import { SchemaIncompatible } from '../errors.ts'
import { BOSS_SCHEMA, BOSS_SCHEMA_VERSION, bossSchemaVersion, migrateBoss } from '../jobs/schema.ts'
import { pause } from '../kit/pause.ts'
import { explainDenied, requireAllRows, requireGrants } from '../tables/permission.ts'
import { cleanText } from '../telemetry/errorText.ts'
import type { Log } from '../telemetry/log.ts'
import type { Persist } from './persist.ts'
import type { Way } from './way.ts'

/** How often a schema that does not fit is looked at again. */
const SCHEMA_LOOK_MS = 1_000

/** Between two tries to migrate after the lock was not got. */
const MIGRATE_AGAIN_MS = 1_000

export interface SchemaGate {
  readonly settings: Settings
  /** For session locks; without one nothing is migrated here. */
  readonly session: SessionAddress | undefined
  readonly pool: Pool
  readonly log: Log
  readonly signal: AbortSignal
  readonly persist: Persist
  onIncompatible(reason: string): void
  /** Whether every table is there; says what is not. */
  whole(): Promise<boolean>
}

/** Migrates when told to, and resolves when the schema fits this release; rejects when a migration fails. */
export async function schemaReady(gate: SchemaGate): Promise<void> {
  try {
    await untilSchemaFits(gate)
    await gate.persist('to look at its rights', async () => {
      await requireGrants(gate.pool, SCHEMAS)
      await requireAllRows(gate.pool, SCHEMAS)
    })
  } catch (error) {
    throw await explainDenied(gate.pool, error, SCHEMAS)
  }
}

/** Ours and pg-boss's. */
export const SCHEMAS = ['service_ops', BOSS_SCHEMA]

async function untilSchemaFits(gate: SchemaGate): Promise<void> {
  const { settings, pool, log, signal, persist } = gate
  if (!settings.runMigrations) {
    log.event('migrations_disabled', 'RUN_MIGRATIONS is not 1: the schema is checked, not changed', {})
  }
  let said: string | undefined
  // A run that got the lock has done all that this release can; a schema that still does not fit, as a newer one or
  // one that lost a table, is only looked at again, or its lock would be taken and given back every second for ever.
  let toMigrate = settings.runMigrations
  for (let isOld = true; ;) {
    if (toMigrate && isOld) toMigrate = !(await persist('to migrate', () => migrateOrLeaveIt(gate)))
    const look = async () => {
      const found = await bothSchemas(pool)
      return { ...found, whole: found.fits && (await gate.whole()) }
    }
    const { fits, whole, reason, version, oldestCode } = await persist('to look at the schema', look)
    const window = `${oldestCode ?? '?'}..${version ?? '?'}`
    // What is missing from a schema that fits is for --repair alone, and only looked for again.
    isOld = !fits
    if (whole) {
      log.event('schema_checked', reason, { version: version ?? 0, window })
      return
    }
    if (!fits && said !== reason) {
      log.event('schema_incompatible', `CRITICAL: ${reason}`, { version, window })
      gate.onIncompatible(reason)
      said = reason
    }
    await pause(settings.runMigrations ? MIGRATE_AGAIN_MS : SCHEMA_LOOK_MS, signal)
    signal.throwIfAborted()
  }
}

/** Ours, and pg-boss's, of which only an older one does not serve. */
async function bothSchemas(pool: Pool): Promise<SchemaStatus> {
  const ours = await schemaStatus(pool)
  if (!ours.fits) return ours
  const found = await bossSchemaVersion(pool)
  if (found !== null && found >= BOSS_SCHEMA_VERSION) return ours
  const { message: reason } = new SchemaIncompatible(BOSS_SCHEMA, found, BOSS_SCHEMA_VERSION)
  return { ...ours, fits: false, reason }
}

/**
 * Whether it was done, or cannot be done here. A lock that somebody else holds is no failure: the schema may fit
 * already, and if not, we try again.
 */
async function migrateOrLeaveIt({ settings, session, log, signal }: SchemaGate): Promise<boolean> {
  if (session === undefined) return true
  try {
    await migrate({
      ...session,
      log,
      lockWaitMs: settings.migrationLockWaitMs,
      statementTimeoutMs: settings.migrationStatementTimeoutMs,
      after: async (client) => {
        await migrateBoss(client)
      },
      signal,
    })
    return true
  } catch (error) {
    if (!isBusy(error)) throw error
    log.event('migrations_skipped', `left for now: ${cleanText(error.message)}`, { reason: 'lock busy' })
    return false
  }
}

export interface Pools {
  /** Handlers, claims, pages, jobs. */
  readonly work: Pool
  /** Leases, heartbeats and health, on top, so that work can never starve them. */
  readonly reserved: Pool
  /**
   * One connection that only looks whether the database is there. What waits for somebody's lock may use up the others,
   * and that must not look as if the database were silent.
   */
  readonly pulse: Pool
}

/** A fenced step must fail well before its lease is over. */
const FENCED_SHARE_OF_LEASE = 0.5

/** Connections of the work pool besides those that handlers hold: claims, outcomes, pages, jobs. */
export const WORK_MARGIN = 4
export const WORK_LEAST = 10

export function openPools(
  settings: Settings,
  { url, pooling }: Way,
  identity: Identity,
  transactionalConcurrency: number,
  statements: {
    readonly asked: () => (answered: boolean) => void
    readonly failed: (pools: Pools, error: unknown) => void
    /** A connection broke. */
    readonly broke: (error: unknown) => void
  },
): Pools {
  const limits = {
    statementTimeoutMs: settings.statementTimeoutMs,
    lockTimeoutMs: settings.lockTimeoutMs,
    idleInTransactionMs: settings.idleInTransactionMs,
  }
  const base = {
    url,
    applicationName: `tidemark:${identity.instanceId}`,
    connectTimeoutMs: settings.connectTimeoutMs,
    startupOptions: pooling === 'none',
    ownSession: pooling !== 'transaction',
    onAsk: () => statements.asked(),
    onConnectionError: (error: unknown) => statements.broke(error),
    onStatementError: (error: unknown) => statements.failed(pools, error),
  }
  const fencedMs = Math.min(limits.statementTimeoutMs, Math.round(settings.leaseMs * FENCED_SHARE_OF_LEASE))
  const reserved = {
    ...limits,
    statementTimeoutMs: fencedMs,
    // A heartbeat that waits for a lock must let go in time for the leases to be renewed beside it.
    lockTimeoutMs: Math.min(limits.lockTimeoutMs, Math.round(settings.heartbeatMs / 2)),
  }
  const pools: Pools = {
    work: createPool({
      ...base,
      limits,
      max: settings.poolMax ?? Math.max(WORK_LEAST, transactionalConcurrency + WORK_MARGIN),
    }),
    reserved: createPool({
      ...base,
      limits: reserved,
      max: settings.poolReserved,
      keep: true,
    }),
    pulse: createPool({ ...base, limits: reserved, max: 1, keep: true }),
  }
  return pools
}
