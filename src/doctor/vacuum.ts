import { quoteQualified } from '../db/identifier.ts'
import { span } from '../kit/span.ts'
import { CannotRun, fault, warning, type Check, type DoctorContext, type Finding } from './check.ts'
import { readSettings } from './server.ts'
import { sql } from './statements.ts'

/** Is what is dead removed? Claims walk over dead rows, and the hot rows of leaders and watermarks die every second. */

const SCHEMAS = ['service_ops', 'pgboss']

/** Where a table is vacuumed at a twentieth of it, more than this share of dead rows means that vacuum does not come, or cannot. */
const DEAD_SHARE = 0.2

type TableRow = {
  name: string
  living: number
  dead: number
  vacuumed_s_ago: number | null
  is_off: boolean
}

export const vacuum: Check = {
  name: 'vacuum',
  title: "Autovacuum is on, and keeps up with Tidemark's tables and the sources.",
  async run(context) {
    const { deadRows } = context.limits
    const found: Finding[] = (await readSettings(context, { autovacuum: 'on', track_counts: 'on' }))
      .filter(({ value }) => value === 'off')
      .map(({ name, remedy }) =>
        fault(`${name} is off: nothing removes dead rows, and every claim gets slower`, remedy),
      )
    const { rows } = await context.database().query<TableRow>(sql.tables, [SCHEMAS, sourceTables(context)])
    for (const { name, living, dead, vacuumed_s_ago: ago, is_off: isOff } of rows) {
      if (isOff)
        found.push(fault(`autovacuum is off for ${name}`, `ALTER TABLE ${name} RESET (autovacuum_enabled)`))
      if (dead <= deadRows + DEAD_SHARE * living) continue
      const last = ago === null ? 'never vacuumed' : `vacuumed ${span(ago)} ago`
      found.push(
        warning(
          `${name} has ${dead} dead rows beside ${living} living ones (${last}): vacuum does not come, or an old transaction keeps it from removing them`,
          `VACUUM (VERBOSE, ANALYZE) ${name}`,
        ),
      )
    }
    return found
  },
}

/** Tables of the config's sources, quoted; none without a config. */
export function sourceTables(context: DoctorContext): readonly string[] {
  try {
    return context.config().pollers.map(({ source }) => quoteQualified(source.table))
  } catch (error) {
    if (error instanceof CannotRun) return []
    throw error
  }
}

/** The server refuses writes when some three million are left. */
const LAST_XIDS = 1_500_000_000

export const wraparound: Check = {
  name: 'wraparound',
  title: 'The database is far from running out of transaction numbers.',
  async run(context) {
    type Row = { xids: number; multixacts: number; table: string | null }
    const [row] = (await context.database().query<Row>(sql.wraparound)).rows
    if (row === undefined) return []
    const oldest = Math.max(row.xids, row.multixacts)
    if (oldest < context.limits.oldXids) return []
    const say = oldest >= LAST_XIDS ? fault : warning
    return [
      say(
        `the oldest transaction number is ${oldest} behind, of 2 billion: at the end the server refuses every write`,
        `end what keeps vacuum from its work (long_transactions, prepared_transactions, replication_slots), then VACUUM (FREEZE) ${row.table ?? ''}`,
      ),
    ]
  },
}
