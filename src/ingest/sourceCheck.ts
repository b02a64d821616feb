/**
 * A source is looked at once, at start: whether a pass could read it, and whether its rows' time is the database's.
 *
 * The proof that nothing is skipped asks that `created_at` is set by the database's clock. Where the catalogs or the
 * newest rows speak against that, rows may be older than their arrival by as much as a client's clock is behind, so
 * the edge stays back by ten minutes more. That costs re-reading those minutes, never latency: fresh rows are taken in
 * at once all the same. An explicit `lateness` in the config is not argued with.
 */
import type { ResolvedSource } from '../config/resolved.ts'
import type { Queryable } from '../db/pool.ts'
import { errorClass, sqlState } from '../db/sqlstate.ts'
import { SourceInvalid } from '../errors.ts'
import { explainSourceDenied } from '../tables/permission.ts'
import { describeSource, probeSource, readClock } from '../tables/source.ts'
import type { SourceClock, SourceRelation } from '../tables/source.ts'
import { cleanError } from '../telemetry/errorText.ts'
import { prepareSource } from './sourceSql.ts'
import type { PreparedSource } from './sourceSql.ts'

export interface CheckedSource {
  readonly source: PreparedSource
  /** How far behind its arrival a row's time may lie, in milliseconds. */
  readonly latenessMs: number
  /** Why the lateness was put there although the config says nothing of it; null: it was not. */
  readonly clientTimes: string | null
  /** So many rows have no time, and so no place in the order of a pass; counted up to `UNDATED_MOST` and one. */
  readonly undated: number
  /** So many of the last 1,000 rows have no id, and cannot be told from one another. */
  readonly nameless: number
}

/** For clients' clocks, and for rows that were written long before they were sent. */
const CLIENT_LATENESS_MS = 600_000

/** Fewer times that are whole milliseconds may be so by chance: three of the database's clock are, once in 1e9. */
const TELLING_TIMES = 3

/** Digits after the second from which on a time says whether a client's milliseconds were its origin. */
const MICROSECONDS = 6

/**
 * Looks at the source. Throws SourceInvalid (not there, no such column, a condition that is none, …) or
 * PermissionMissing, each with its remedy.
 */
export async function checkSource(db: Queryable, source: ResolvedSource): Promise<CheckedSource> {
  try {
    const relation = await describeSource(db, source.table)
    const prepared = prepareSource(source, relation)
    await probeSource(db, prepared.probe)
    // prepareSource has thrown where there is no relation, which its type cannot say.
    if (relation === undefined) throw new SourceInvalid(source.table, 'there is no such table', 'make it')
    const clock = await readClock(db, relation, source.createdAt, source.id)
    const clientTimes = source.latenessMs === null ? clientTimesOf(source, relation, clock) : null
    return {
      source: prepared,
      latenessMs: source.latenessMs ?? (clientTimes === null ? 0 : CLIENT_LATENESS_MS),
      clientTimes,
      undated: clock.undated,
      nameless: clock.nameless,
    }
  } catch (error) {
    throw unusable(source, await explainSourceDenied(db, error, source.table))
  }
}

/** The first reason to think that a client, not the database, says when a row was written; null: there is none. */
function clientTimesOf(source: ResolvedSource, relation: SourceRelation, clock: SourceClock): string | null {
  const column = relation.columns.find(({ name }) => name === source.createdAt)
  if (column === undefined) return null
  if (column.type === 'timestamp without time zone') return `${column.name} is a timestamp without zone`
  if (clock.subscribed) return `a subscription writes ${source.table}, with the publisher's times`
  if (column.default_expression === null) {
    const kind = relation.relkind === 'r' || relation.relkind === 'p' ? 'has no default' : 'is a view’s'
    return `${column.name} ${kind}, so whoever inserts says the time`
  }
  if (clock.trigger !== null)
    return `the trigger ${clock.trigger} runs before each insert and may set the time`
  const canTell = (column.modifier ?? MICROSECONDS) >= MICROSECONDS
  if (canTell && clock.whole && clock.n >= TELLING_TIMES) {
    return `the last ${clock.n} times of ${column.name} are whole milliseconds, as a program's clock gives them`
  }
  return null
}

/** What PostgreSQL refused about this source, with the remedy; anything else (the connection) as it is. */
function unusable(source: ResolvedSource, error: unknown): unknown {
  if (error instanceof SourceInvalid || sqlState(error) === undefined) return error
  if (['lock_timeout', 'timeout'].includes(errorClass(error))) {
    return new SourceInvalid(
      source.table,
      `it could not be looked at in time: ${cleanError(error).text}`,
      `see who holds a lock on it, and whether it has an index that begins with ${source.createdAt}`,
    )
  }
  if (!['missing_column', 'missing_function', 'missing_table', 'data', 'other'].includes(errorClass(error)))
    return error
  const { text } = cleanError(error)
  if (source.where === null)
    return new SourceInvalid(source.table, `it cannot be read: ${text}`, 'try SELECT * FROM it as this role')
  return new SourceInvalid(
    source.table,
    `its condition \`where\` cannot be used: ${text}`,
    'write what may stand behind WHERE, with columns of the table alone',
  )
}
