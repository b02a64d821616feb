/**
 * The insert trigger that wakes a poller: put on its source by `tidemark wake on`, taken off by `tidemark wake off`.
 *
 * It is the one thing that Tidemark ever adds to somebody else's table, so it is asked for by name, costs a writer about
 * as little as a trigger can, cannot fail an insert, and goes without a trace. A statement fires it once, whatever the
 * number of its rows (INSERT … SELECT, COPY). Its function lies in `service_ops`: dropping that takes the trigger along.
 *
 * - *The table is in use*: CREATE TRIGGER waits for transactions that have written to it, DROP for those that have read it,
 *   and all others wait behind them meanwhile. So each try waits a moment only, and there are several.
 * - *The table is a view*: rows are written below it, where the view's own trigger would not see them. Refused.
 * - *Partitions*: a statement fires the triggers of the table that it names. Rows written into a partition by its own name
 *   are found by the clock.
 */
import type { Pool, Queryable } from '../db/pool.ts'
import { withTransaction } from '../db/transaction.ts'
import { errorClass } from '../db/sqlstate.ts'
import { PermissionMissing, PollerUnknown, WakeRefused } from '../errors.ts'
import { pause } from '../kit/pause.ts'
import { actAs, recordAction } from '../tables/control.ts'
import type { Actor } from '../tables/control.ts'
import { announceWake, createWake, describeWake, dropWake, findWake } from '../tables/wake.ts'
import type { WakeSource } from '../tables/wake.ts'

export interface WakeChange {
  /** False: it was so already. */
  readonly changed: boolean
  /** Qualified and quoted; null: none is on record. */
  readonly table: string | null
  /** The server lets transactions be prepared, and one that has woken a poller cannot be: PostgreSQL's own rule. */
  readonly prepares: boolean
}

/** All of the table's writers wait while we do, so a try is short. */
const LOCK_WAIT = '300ms'
/** Between two tries they go on. */
const PAUSE_MS = 700
const TRIES = 10

/**
 * Makes inserts wake a poller. `table`: default, as the poller is registered. `actor`: on record, where there is one.
 * @throws {PollerUnknown} there is none of that name
 * @throws {WakeRefused} its source can have no such trigger, or is in use
 * @throws {PermissionMissing} names the GRANT
 */
export async function wakeOn(
  pool: Pool,
  poller: string,
  { table, actor }: { readonly table?: string; readonly actor?: Actor } = {},
): Promise<WakeChange> {
  if (table === undefined && (await findWake(pool, poller))?.source_table == null)
    throw new PollerUnknown(poller)
  const source = await describeWake(pool, poller, table)
  if (source === undefined)
    throw new WakeRefused(poller, 'its source is gone', `\`tidemark status\` shows which table that is`)
  const found = { table: source.table, prepares: source.prepares }
  if (source.is_on) return { changed: false, ...found }
  requirePossible(poller, source)
  await whenFree(poller, source.table, () =>
    withTransaction(
      pool,
      async (client) => {
        // One on a former source of this poller, or one that was disabled.
        await dropWake(client, source.wake_name)
        await createWake(client, poller, source)
        await announceWake(client, poller)
        await recordChange(client, 'wake on', poller, source.table, actor)
      },
      { local: { lock_timeout: LOCK_WAIT } },
    ),
  )
  return { changed: true, ...found }
}

/**
 * Removes trigger and function, also of a poller that is registered no longer.
 * @throws {PollerUnknown} there is none of that name, and no trigger of it
 * @throws {WakeRefused} its source is in use
 */
export async function wakeOff(pool: Pool, poller: string, actor?: Actor): Promise<WakeChange> {
  const known = await findWake(pool, poller)
  if (known === undefined) throw new PollerUnknown(poller)
  const found = { table: known.source_table, prepares: false }
  if (!known.has_function) return { changed: false, ...found }
  await whenFree(poller, known.source_table ?? 'its source', () =>
    withTransaction(
      pool,
      async (client) => {
        await dropWake(client, known.wake_name)
        await announceWake(client, poller)
        await recordChange(client, 'wake off', poller, known.source_table, actor)
      },
      { local: { lock_timeout: LOCK_WAIT } },
    ),
  )
  return { changed: true, ...found }
}

/** On record with the change itself; the demo's own is nobody's. */
async function recordChange(
  client: Queryable,
  action: 'wake on' | 'wake off',
  poller: string,
  table: string | null,
  actor: Actor | undefined,
): Promise<void> {
  if (actor === undefined) return
  await actAs(client, actor)
  await recordAction(client, action, poller, { table })
}

function requirePossible(poller: string, source: WakeSource): void {
  const { relkind, table, role, may_trigger, may_create } = source
  if (relkind !== 'r' && relkind !== 'p') {
    const what =
      relkind === 'v' || relkind === 'm' ? 'a view, and rows are written below it' : 'no plain table'
    throw new WakeRefused(
      poller,
      `its source ${table} is ${what}`,
      'point the poller at the table itself, or leave it to the clock with a short `every`',
    )
  }
  const missing = [
    ...(may_trigger ? [] : [{ object: `table ${table}`, grant: `GRANT TRIGGER ON ${table} TO ${role}` }]),
    ...(may_create
      ? []
      : [{ object: 'schema service_ops', grant: `GRANT CREATE ON SCHEMA service_ops TO ${role}` }]),
  ]
  if (missing.length > 0) throw new PermissionMissing(role, missing)
}

/** Several short tries for the lock of the table. */
async function whenFree(poller: string, table: string, act: () => Promise<void>): Promise<void> {
  for (let tries = 1; ; tries += 1) {
    try {
      await act()
      return
    } catch (error) {
      if (errorClass(error) !== 'lock_timeout') throw error
      if (tries === TRIES)
        throw new WakeRefused(
          poller,
          `${table} was in use by a long transaction at each of ${TRIES} tries`,
          "try again when that has ended: SELECT pid, query FROM pg_stat_activity WHERE xact_start < now() - interval '1 second'",
        )
      await pause(PAUSE_MS)
    }
  }
}
