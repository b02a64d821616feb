/**
 * Missing tables: says once that a table of ours is gone, which, and what brings it back, and once that it is there.
 *
 * A loop whose statement fails cannot know whether it is the only one, and would say so at every beat. So the pools tell
 * every failure to this one place. Where it speaks of what is ours, the catalog is asked what is missing, and again
 * every second until nothing is. Some tables no statement needs for days (a term is drawn at an election alone), so
 * the catalog is asked by the clock as well. It owns the truth; the text of an error is only a reason to look sooner.
 *
 * - *A table that work needs is gone*: nothing here leads until it is back. What the repair makes is empty, so `onBack`
 *   first puts back what this process knows of it; when that fails it is tried again at the next look.
 * - *It was dropped and made again between two looks*: no statement failed, but what stood in it is gone. The name is
 *   another relation's now, and that is a loss and a return in one.
 * - *A table that only verify(), migrations and starts read*: it is said, and what runs goes on.
 * - *A newer release has taken away what it does without*: its schema still serves this one, or this one would not run.
 *   Only a statement that fails makes that a loss.
 * - *The database is away, or does not let us look*: the pulse and denied.ts tell.
 */
import { CODE_SCHEMA_VERSION, missingObjects, schemaStatus } from '../db/migrate.ts'
import { SCHEMA_OBJECTS } from '../db/migrate/files.ts'
import type { Queryable } from '../db/pool.ts'
import { relationIdentities } from '../db/relations.ts'
import { MISSING_STATES, sqlState } from '../db/sqlstate.ts'
import { startLoop } from '../kit/loop.ts'
import { cleanError } from '../telemetry/errorText.ts'
import type { Log } from '../telemetry/log.ts'

export interface MissingOptions {
  readonly log: Log
  /** The first table that work needs is gone: nothing that leads may go on. */
  readonly onGone: () => void
  /** Every such table is there again, and those that are new are empty. Called again when it rejects. */
  readonly onBack: () => Promise<void>
  /** Between two looks that nothing has asked for, in milliseconds. Default: 30 s. */
  readonly everyMs?: number
}

export interface Missing {
  /** Looks at once, and from then on by the clock. True: every table of ours is there. */
  look(db: Queryable): Promise<boolean>
  /** A statement failed; when it speaks of a relation or column of ours, that is looked for soon. */
  failed(db: Queryable, error: unknown): void
  stop(): Promise<void>
}

const COMMAND = 'tidemark migrate --repair'

/** Between two looks while something is missing: the command has done its work, and ours goes on by itself. */
const LOOK_MS = 1_000

/** Two catalog queries; until then a loss that no statement meets hurts nobody. */
const EVERY_MS = 30_000

/** Before the first look there is nothing to look for: the schema may not have been made yet. */
const ASLEEP_MS = 3_600_000

/** And the columns that a table was given later, which are missed as a table is. */
const TABLES: ReadonlySet<string> = new Set([...SCHEMA_OBJECTS.tables, ...SCHEMA_OBJECTS.columns])

/** How an error names them: of a relation it gives the schema as well, of a column not even the table. */
const OURS: readonly string[] = [
  'service_ops',
  ...SCHEMA_OBJECTS.columns.map((column) => column.split('.').at(-1) ?? column),
]

/**
 * Read by verify(), migrations, operators and starts alone; what a message's story lacks is no reason to hold its outcome back
 * (tables/attempt.ts). To stop what runs for want of one would be the greater loss.
 */
const BOOKKEEPING: ReadonlySet<string> = new Set([
  'service_ops.history_minute',
  'service_ops.history_step',
  'service_ops.invariant',
  'service_ops.message_attempt',
  'service_ops.migrations',
  'service_ops.operator_action',
  'service_ops.schema_window',
])

const INBOX = 'service_ops.integration_inbox'

/** Its record went with it, and nobody can tell any more what had been processed: whoever repairs it must hear of both. */
const INBOX_EMPTIED =
  `${INBOX} has been made again, and is empty: source rows behind a poller's edge are not taken in again, also where they ` +
  'had not been processed (`tidemark verify` counts them); those since then are, also where they had been'

/** Of a column, `schema.table`. */
const tableOf = (name: string): string => name.split('.').slice(0, 2).join('.')

const isNeeded = (name: string): boolean => TABLES.has(name) && !BOOKKEEPING.has(name)

export function createMissing({ log, onGone, onBack, everyMs = EVERY_MS }: MissingOptions): Missing {
  const said = new Set<string>()
  /** Which relation had each name at the newest look. */
  const seen = new Map<string, string>()
  let watched: Queryable | undefined
  let suspected = false
  let gone = false

  /** One line a table; what else is missing, mostly views that the DROP took along, stands in the first. */
  function say(names: readonly string[]): void {
    // A repair gives a table that it makes again its later columns a moment after: the next look says what is missing then.
    const fresh = names.filter((name) => !said.has(name) && !said.has(tableOf(name)))
    for (const name of fresh) said.add(name)
    const tables = fresh.filter((name) => TABLES.has(name))
    const others = fresh.filter((name) => !TABLES.has(name))
    const [first, ...rest] = tables.length > 0 ? tables : others.splice(0, 1)
    if (first === undefined) return
    const also = others.length === 0 ? '' : ` (and with it ${others.join(', ')})`
    const line = (name: string, more: string): string =>
      `CRITICAL: ${name} is missing${more}: run \`${COMMAND}\`; work goes on ` +
      (isNeeded(name) ? 'by itself then' : 'meanwhile')
    log.event('table_missing', line(first, also), { table: first, command: COMMAND, also: others })
    for (const table of rest) log.event('table_missing', line(table, ''), { table, command: COMMAND })
  }

  /** Those that are other relations than at the look before. One that was said to be missing is back in its own way. */
  function madeAgain(now: ReadonlyMap<string, string>): string[] {
    const others = [...now].filter(([name, id]) => !said.has(name) && (seen.get(name) ?? id) !== id)
    for (const [name, id] of now) seen.set(name, id)
    return others.map(([name]) => name)
  }

  async function lookAt(db: Queryable, byClock: boolean): Promise<boolean> {
    const names = await missingObjects(db)
    if (byClock && said.size === 0 && names.length > 0 && (await isNewer(db))) return false
    const others = madeAgain(await relationIdentities(db, SCHEMA_OBJECTS.tables))
    say(names)
    for (const table of others) {
      log.event('table_back', `${table} was dropped and has been made again`, { table })
      sayEmptied(table)
    }
    if (!gone && [...names, ...others].some(isNeeded)) {
      gone = true
      onGone()
    }
    if (gone && !names.some(isNeeded)) {
      await onBack()
      gone = false
    }
    // What was made again may be dropped again, and is then said again.
    for (const name of [...said]) if (!names.includes(name)) back(name)
    if (said.size === 0) suspected = false
    return !names.some((name) => TABLES.has(name))
  }

  function back(name: string): void {
    said.delete(name)
    if (!TABLES.has(name)) return
    log.event('table_back', `${name} is there again`, { table: name })
    sayEmptied(name)
  }

  function sayEmptied(table: string): void {
    if (table === INBOX) log.event('inbox_emptied', INBOX_EMPTIED, { table })
  }

  const loop = startLoop({
    async body() {
      if (watched === undefined) return ASLEEP_MS
      await lookAt(watched, !suspected)
      return said.size > 0 || gone ? LOOK_MS : everyMs
    },
    onError: (error, failures) => {
      const { class: errorClass, text } = cleanError(error)
      if (failures === 1 && (suspected || gone))
        log.event('loop_failed', `could not look for missing tables, or go on after them: ${text}`, {
          loop: 'missing',
          class: errorClass,
          text,
        })
      return LOOK_MS
    },
  })

  return {
    look(db) {
      watched ??= db
      loop.wakeIn(everyMs)
      return lookAt(db, false)
    },
    failed(db, error) {
      if (suspected || !MISSING_STATES.has(sqlState(error) ?? '')) return
      if (!(error instanceof Error) || !OURS.some((name) => error.message.includes(name))) return
      suspected = true
      watched ??= db
      loop.wake()
    },
    stop: () => loop.stop(),
  }
}

async function isNewer(db: Queryable): Promise<boolean> {
  const { version } = await schemaStatus(db)
  return version !== null && version > CODE_SCHEMA_VERSION
}
