/**
 * The sources as the config has them, looked at by the same rules as at a start (ingest/sourceCheck.ts), so that what would
 * be said in a log then is known before.
 *
 * A source that cannot be read at all is a finding of `sources`; the checks that look further into it then say that they
 * could not.
 */
import type { ResolvedPoller } from '../config/resolved.ts'
import { quoteQualified } from '../db/identifier.ts'
import { interval } from '../db/interval.ts'
import type { Queryable } from '../db/pool.ts'
import { errorClass } from '../db/sqlstate.ts'
import { fillIdentifiers } from '../db/statements.ts'
import { IdentifierInvalid, PermissionMissing, SourceChanged, SourceInvalid } from '../errors.ts'
import { requireSameSource } from '../ingest/sameSource.ts'
import { checkSource } from '../ingest/sourceCheck.ts'
import type { CheckedSource } from '../ingest/sourceCheck.ts'
import { storedIdSql } from '../tables/messageId.ts'
import { countOlder, describeSource, UNDATED_MOST } from '../tables/source.ts'
import type { SourceRelation } from '../tables/source.ts'
import { findTask } from '../tables/task.ts'
import { span } from '../kit/span.ts'
import { fault, note, unseen, warning, type Check, type DoctorContext, type Finding } from './check.ts'
import { sql } from './statements.ts'

/** A poller whose source can be read. */
export interface ReadableSource {
  readonly poller: ResolvedPoller
  readonly checked: CheckedSource
  readonly relation: SourceRelation
}

/** Calls `look` for each poller's source that can be read; each other one is said to be unseen, here or by `sources`. */
export async function eachSource(
  context: DoctorContext,
  look: (source: ReadableSource, database: Queryable) => Promise<Finding[]>,
): Promise<Finding[]> {
  const database = context.database()
  const found: Finding[] = []
  for (const poller of context.config().pollers) {
    const read = await readable(database, poller)
    found.push(...('severity' in read ? [asUnseen(poller, read)] : await look(read, database)))
  }
  return found
}

/** The source with who sets its times found out, whatever lateness the config names; or what keeps it from being read. */
async function readable(database: Queryable, poller: ResolvedPoller): Promise<ReadableSource | Finding> {
  try {
    const checked = await checkSource(database, { ...poller.source, latenessMs: null })
    const relation = await describeSource(database, poller.source.table)
    if (relation === undefined)
      throw new SourceInvalid(poller.source.table, 'there is no such table', 'make it')
    return { poller, checked, relation }
  } catch (error) {
    return unreadable(poller, error)
  }
}

function unreadable({ name }: ResolvedPoller, error: unknown): Finding {
  if (error instanceof PermissionMissing) {
    const { role, missing } = error
    const objects = missing.map(({ object }) => object).join(', ')
    const seen = `${name} does not start: role ${role} lacks rights on ${objects}`
    return fault(seen, missing.map(({ grant }) => grant).join('; '))
  }
  if (error instanceof SourceInvalid)
    return fault(`${name} does not start: source ${error.table}: ${error.problem}`, error.remedy)
  if (error instanceof IdentifierInvalid)
    return fault(`${name} does not start: ${error.message}`, "write the source's table as schema.table")
  throw error
}

function asUnseen({ name }: ResolvedPoller, { remedy }: Finding): Finding {
  return unseen(`the source of ${name} cannot be read (see sources)`, remedy)
}

export const sources: Check = {
  name: 'sources',
  title: 'Every source can be read, whole, and is the one that its poller began with.',
  async run(context) {
    const database = context.database()
    const found: Finding[] = []
    for (const poller of context.config().pollers) {
      const read = await readable(database, poller)
      if ('severity' in read) {
        found.push(read)
        continue
      }
      const { name, source } = poller
      const below = await database.query<{ name: string; reader: string }>(sql.rls_below, [
        quoteQualified(source.table),
      ])
      for (const { name: table, reader } of below.rows) {
        found.push(
          fault(
            `${name}: row-level security of ${table} may hide rows from ${reader}, as whom ${source.table} is read: a hidden row counts as never written`,
            `ALTER ROLE ${reader} BYPASSRLS; or a policy for it with USING (true)`,
          ),
        )
      }
      found.push(...(await isTheSame(database, read)))
    }
    return found
  },
}

async function isTheSame(database: Queryable, { poller, checked }: ReadableSource): Promise<Finding[]> {
  const { name } = poller
  try {
    requireSameSource(name, await findTask(database, name), checked.source)
    return []
  } catch (error) {
    if (!(error instanceof SourceChanged)) throw error
    return [
      fault(
        error.message,
        `tidemark reset ${name} --from 2026-01-01T00:00:00Z (its new start), or another name for the poller`,
      ),
    ]
  }
}

export const sourceTimes: Check = {
  name: 'source_times',
  title:
    "The database sets every source row's time and id; where a client does, `lateness` says how late it may be.",
  run: (context) =>
    eachSource(context, async (read, database) => {
      const { poller, checked } = read
      const { name, source, sweepMs } = poller
      const { clientTimes, latenessMs, undated, nameless } = checked
      const found: Finding[] = []
      if (clientTimes !== null && source.latenessMs === null) {
        found.push(
          warning(
            `${name}: ${clientTimes}: the edge stays ${latenessMs / 60_000} min back, and rows later than that are found by the sweep alone`,
            `ALTER TABLE ${source.table} ALTER COLUMN ${source.createdAt} SET DEFAULT now(), and let nobody else set it; or say lateness: '10m' in pollers.${name}.source`,
          ),
        )
      }
      if (clientTimes !== null && source.latenessMs !== null && source.latenessMs < latenessMs) {
        const say = source.latenessMs === 0 ? warning : note
        found.push(
          say(
            `${name}: ${clientTimes}, and lateness is ${source.latenessMs} ms: a row that is later is found by the sweep alone, every ${sweepMs / 60_000} min`,
            `lateness: '10m' in pollers.${name}.source, unless its clients' clocks are known to be better`,
          ),
        )
      }
      found.push(...(await ofTheFuture(read, database)))
      if (nameless > 0) {
        found.push(
          fault(
            `${name}: ${nameless} of the newest rows of ${source.table} have no ${source.id}: they are never taken in`,
            `give each an id of its own, then ALTER TABLE ${source.table} ALTER COLUMN ${source.id} SET NOT NULL`,
          ),
        )
      }
      if (undated > 0) {
        const count = undated > UNDATED_MOST ? `more than ${UNDATED_MOST}` : String(undated)
        found.push(
          warning(
            `${name}: ${count} rows of ${source.table} have no ${source.createdAt}: only the sweep takes them in, every ${sweepMs / 60_000} min`,
            `ALTER TABLE ${source.table} ALTER COLUMN ${source.createdAt} SET DEFAULT now(), ALTER COLUMN ${source.createdAt} SET NOT NULL (fill in the old ones first)`,
          ),
        )
      }
      return found
    }),
}

/** A clock that is a little ahead is no mistake. */
const AHEAD_MS = 300_000
const MANY = 100

async function ofTheFuture({ poller, checked }: ReadableSource, database: Queryable): Promise<Finding[]> {
  const { table, columns } = checked.source
  const statement = fillIdentifiers(sql.future, {
    source: table,
    created_at: columns.created_at,
    where: columns.where,
  })
  type Row = { n: number; latest: string | null }
  const [row] = (await database.query<Row>(statement, [interval(AHEAD_MS)])).rows
  if (row === undefined || row.n === 0) return []
  return [
    warning(
      `${poller.name}: ${row.n > MANY ? `more than ${MANY}` : row.n} rows of ${table} are dated in the future, the last ${row.latest ?? ''}: they are taken in, and read again by every pass until then`,
      `have them written by a clock that is right: ALTER TABLE ${table} ALTER COLUMN ${poller.source.createdAt} SET DEFAULT now()`,
    ),
  ]
}

export const sourceBacklog: Check = {
  name: 'source_backlog',
  title:
    'What a source has and the inbox has not is younger than `retention`, and a new poller is told where to begin.',
  run: (context) =>
    eachSource(context, async (source, database) => {
      const { name, retentionMs, startFrom } = source.poller
      const known = await findTask(database, name)
      if (!known.has_begun) return startFrom === null ? wantsStart(database, source) : []
      const age = await oldestUnread(database, source)
      if (age === null || age * 1000 < retentionMs) return []
      return [
        warning(
          `${name}: a row of ${source.relation.qualified} waits to be taken in for ${span(age)}, longer than retention (${span(retentionMs / 1000)}): once it is done it is forgotten at once, and a later row of its time is never taken in`,
          `retention: '${Math.ceil((2 * age) / 86_400)}d' in pollers.${name} until it has caught up; tidemark status tells how far it is`,
        ),
      ]
    }),
}

async function wantsStart(database: Queryable, { poller, checked }: ReadableSource): Promise<Finding[]> {
  const { table, columns } = checked.source
  const older = await countOlder(database, table, columns, poller.retentionMs).catch((error: unknown) => {
    // As at a start: too many to be counted in time are some.
    if (errorClass(error) === 'timeout') return 'many'
    throw error
  })
  if (older === 0) return []
  return [
    fault(
      `${poller.name} does not start: ${older} rows of ${table} are older than retention (${span(poller.retentionMs / 1000)}), and the config does not say whether they are wanted`,
      `startFrom: 'now' in pollers.${poller.name} (or 'beginning', or a time)`,
    ),
  ]
}

async function oldestUnread(
  database: Queryable,
  { poller, checked, relation }: ReadableSource,
): Promise<number | null> {
  const { table, columns } = checked.source
  const type = relation.columns.find((column) => column.name === poller.source.id)?.type ?? 'text'
  const statement = fillIdentifiers(sql.oldest_unread, {
    source: table,
    created_at: columns.created_at,
    where: columns.where,
    stored_id: storedIdSql(`s.${columns.id}`, type),
  })
  return (await database.query<{ age_s: number | null }>(statement, [poller.name])).rows[0]?.age_s ?? null
}
