import { setTimeout as sleep } from 'node:timers/promises'
import { MigrationLockBusy } from '../../errors.ts'
import type { LockHolder } from '../../errors.ts'
import { within } from '../../kit/within.ts'
import type { Log } from '../../telemetry/log.ts'
import type { Queryable } from '../pool.ts'
import { sql } from './statements.ts'

/** Two tries a second apart would add half a second to every second instance's start; a try costs 0.1 ms. */
const POLL_MS = 100

/** A try that is not answered for this long never will be; its connection has no limit of its own. */
const ANSWER_MS = 5_000

/** While somebody else holds the lock, say who this often. */
const SAY_EVERY_MS = 30_000

/** Name behind our own session advisory lock: `hashtextextended('tidemark:migrate', 0)`. Public; see the docs. */
export const MIGRATION_LOCK = 'tidemark:migrate'

/** The fixed key of postgres-migrations 5, the same for every program that uses it on this database. */
export const LIBRARY_LOCK = { name: 'postgres-migrations', key: '-8525285245963000605' } as const

/** Our own lock and its key in this database. */
export async function ownLock(client: Queryable): Promise<{ name: string; key: string }> {
  const { rows } = await client.query<{ key: string }>(sql.lock_key, [MIGRATION_LOCK])
  const [row] = rows
  if (row === undefined) throw new Error('the server gave no key for the migration lock')
  return { name: MIGRATION_LOCK, key: row.key }
}

/**
 * Takes a session advisory lock by bounded tries and resolves with the milliseconds it took. The first try that finds
 * it taken says who has it, and so does every 30th second after. Throws {@link MigrationLockBusy}.
 */
export async function takeLock(
  client: Queryable,
  lock: { readonly name: string; readonly key: string },
  options: {
    readonly waitMs: number
    readonly log: Pick<Log, 'event'>
    readonly signal?: AbortSignal | undefined
  },
): Promise<number> {
  const start = performance.now()
  let saidAt: number | undefined
  for (;;) {
    options.signal?.throwIfAborted()
    const trying = client.query<{ got: boolean }>(sql.try_lock, [lock.key])
    if (!(await within(ANSWER_MS, trying))) throw new Error('Connection terminated: the database is silent')
    const { rows } = await trying
    const waitedMs = Math.round(performance.now() - start)
    if (rows[0]?.got === true) return waitedMs
    const holder = await lockHolder(client, lock.key)
    if (holder !== null && (saidAt === undefined || waitedMs - saidAt >= SAY_EVERY_MS)) {
      saidAt = waitedMs
      sayBusy(options.log, lock.name, holder, waitedMs)
    }
    if (waitedMs >= options.waitMs) throw new MigrationLockBusy(lock.name, waitedMs, holder)
    await sleep(Math.min(POLL_MS, options.waitMs - waitedMs + 1))
  }
}

/** Gives a lock back; the end of the session does so too. */
export async function giveLockBack(client: Queryable, lock: { readonly key: string }): Promise<void> {
  await client.query(sql.unlock, [lock.key])
}

/** Who holds the lock right now, or null. */
export async function lockHolder(client: Queryable, key: string): Promise<LockHolder | null> {
  const { rows } = await client.query<{ pid: number; application: string | null; age_s: number | null }>(
    sql.lock_holder,
    [key],
  )
  const [row] = rows
  if (row === undefined) return null
  const application = row.application === '' ? null : row.application
  return { pid: row.pid, application, ageS: row.age_s, howToEnd: `SELECT pg_terminate_backend(${row.pid})` }
}

function sayBusy(log: Pick<Log, 'event'>, lock: string, holder: LockHolder, waitedMs: number): void {
  const { pid, application, ageS, howToEnd } = holder
  const since = ageS === null ? '' : ` for ${ageS} s`
  log.event(
    'migration_lock_busy',
    `migration lock (${lock}) is held${since} by pid ${pid} (${application ?? 'unknown application'}); to end it: ${howToEnd}`,
    { pid, application, age_s: ageS, how_to_end: howToEnd, waited_ms: waitedMs },
  )
}
