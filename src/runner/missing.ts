/**
 * Missing tables: says once that a table of ours is gone, which, and what brings it back, and once that it is there.
 *
 * A loop whose statement fails cannot know whether it is the only one, and would say so at every beat. So the pools tell
 * every failure to this one place. Where it speaks of a relation of ours, the catalog is asked what is missing, and
 * again every second until nothing is. The catalog owns the truth; the text of an error is only the reason to look.
 */
import { missingObjects } from '../db/migrate.ts'
import { SCHEMA_OBJECTS } from '../db/migrate/files.ts'
import type { Queryable } from '../db/pool.ts'
import { MISSING_STATES, sqlState } from '../db/sqlstate.ts'
import { startLoop } from '../kit/loop.ts'
import { cleanError } from '../telemetry/errorText.ts'
import type { Log } from '../telemetry/log.ts'

export interface MissingOptions {
  readonly log: Log
  /** The first table is gone: nothing that leads may go on. */
  readonly onGone: () => void
  /** Every table is there again. */
  readonly onBack: () => void
}

export interface Missing {
  /** Looks at once. True: every table of ours is there. */
  look(db: Queryable): Promise<boolean>
  /** A statement failed; when it speaks of a relation of ours, it is looked for soon. */
  failed(db: Queryable, error: unknown): void
  stop(): Promise<void>
}

const COMMAND = 'tidemark migrate --repair'

/** Between two looks while something is missing: the command has done its work, and ours goes on by itself. */
const LOOK_MS = 1_000

/** The loop sleeps until a failure wakes it. */
const ASLEEP_MS = 3_600_000

const TABLES: ReadonlySet<string> = new Set(SCHEMA_OBJECTS.tables)

export function createMissing({ log, onGone, onBack }: MissingOptions): Missing {
  const said = new Set<string>()
  let suspected: Queryable | undefined
  let gone = false

  /** One line a table; what else is missing, mostly views that the DROP took along, stands in the first. */
  function say(names: readonly string[]): void {
    const fresh = names.filter((name) => !said.has(name))
    for (const name of fresh) said.add(name)
    const tables = fresh.filter((name) => TABLES.has(name))
    const others = fresh.filter((name) => !TABLES.has(name))
    const [first, ...rest] = tables.length > 0 ? tables : others.splice(0, 1)
    if (first === undefined) return
    const also = others.length === 0 ? '' : ` (and with it ${others.join(', ')})`
    const line = (table: string, more: string): string =>
      `CRITICAL: ${table} is missing${more}: run \`${COMMAND}\`; work goes on by itself then`
    log.event('table_missing', line(first, also), { table: first, command: COMMAND, also: others })
    for (const table of rest) log.event('table_missing', line(table, ''), { table, command: COMMAND })
  }

  async function look(db: Queryable): Promise<boolean> {
    const names = await missingObjects(db)
    say(names)
    const whole = !names.some((name) => TABLES.has(name))
    if (!whole && !gone) onGone()
    if (whole && gone) onBack()
    gone = !whole
    // What was made again may be dropped again, and is then said again.
    for (const name of [...said]) if (!names.includes(name)) back(name)
    if (said.size === 0) suspected = undefined
    return whole
  }

  function back(name: string): void {
    said.delete(name)
    if (TABLES.has(name)) log.event('table_back', `${name} is there again`, { table: name })
  }

  const loop = startLoop({
    async body() {
      if (suspected === undefined) return ASLEEP_MS
      await look(suspected)
      return said.size > 0 ? LOOK_MS : ASLEEP_MS
    },
    onError: (error, failures) => {
      const { class: errorClass, text } = cleanError(error)
      if (failures === 1)
        log.event('loop_failed', `could not look for missing tables: ${text}`, {
          loop: 'missing',
          class: errorClass,
          text,
        })
      return LOOK_MS
    },
  })

  return {
    look,
    failed(db, error) {
      if (suspected !== undefined || !MISSING_STATES.has(sqlState(error) ?? '')) return
      if (!(error instanceof Error) || !error.message.includes('service_ops')) return
      suspected = db
      loop.wake()
    },
    stop: () => loop.stop(),
  }
}
