// The only deep imports of pg-boss: its installer alone, without the timers and workers that start() brings along.
// tests/jobs/pinned.test.ts ties them to the pinned version.
import { getConfig } from 'pg-boss/dist/attorney.js'
import Contractor from 'pg-boss/dist/contractor.js'
import bossPackage from 'pg-boss/package.json' with { type: 'json' }
import type { ClientBase } from 'pg'
import { MISSING_STATES, sqlState } from '../db/sqlstate.ts'
import type { Queryable } from '../db/pool.ts'
import { schemaIsThere, selectSchemaVersion } from './jobRows.ts'

/** Where pg-boss keeps its tables. Operators rely on the name. */
export const BOSS_SCHEMA = 'pgboss'

/** The schema version that the installed pg-boss was written for. */
export const BOSS_SCHEMA_VERSION = bossPackage.pgboss.schema

/** The version of pg-boss's schema in this database; null when it is not installed. */
export async function bossSchemaVersion(db: Queryable): Promise<number | null> {
  try {
    return await selectSchemaVersion(db)
  } catch (error) {
    if (MISSING_STATES.has(sqlState(error) ?? '')) return null
    throw error
  }
}

/**
 * Installs or upgrades pg-boss's schema by pg-boss's own installer, on the given client and under the caller's
 * migration lock; does nothing on the same or a newer schema. Big index builds are left to the running instances, as
 * pg-boss does. Its script waits 30 s at most for any lock, its own included (a foreign pg-boss that migrates): then
 * this throws 55P03, nothing was changed, try again.
 *
 * @returns the version before and after
 */
export async function migrateBoss(client: ClientBase): Promise<{ from: number | null; to: number }> {
  const from = await bossSchemaVersion(client)
  if (from !== null && from >= BOSS_SCHEMA_VERSION) return { from, to: from }
  const database = {
    async executeSql(text: string, values?: unknown[]) {
      try {
        return await client.query<Record<string, unknown>>(text, values)
      } catch (error) {
        // The script opens a transaction of its own, which the error left open on the caller's client.
        await client.query('ROLLBACK').catch(() => undefined)
        throw error
      }
    },
  }
  // Only when it is not there: the statement asks for CREATE on the database even when it has nothing to do.
  const createSchema = !(await schemaIsThere(client))
  await new Contractor(database, getConfig({ schema: BOSS_SCHEMA, createSchema })).start()
  const to = await bossSchemaVersion(client)
  if (to === null || to < BOSS_SCHEMA_VERSION) {
    throw new Error(`pg-boss's schema is at ${String(to)} after its migration, not at ${BOSS_SCHEMA_VERSION}`)
  }
  return { from, to }
}
