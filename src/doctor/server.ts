import { majorOf, OLDEST_MAJOR } from '../db/serverVersion.ts'
import { fault, warning, type Check, type DoctorContext, type Finding } from './check.ts'
import { sql } from './statements.ts'

/** Is this a server on which Tidemark's promises hold? */

interface ServerRow extends Record<string, unknown> {
  readonly version: string
  readonly version_number: number
  readonly is_standby: boolean
  readonly encoding: string
}

/** The oldest that the PostgreSQL project still repairs: 14 had its last release in November 2026. */
const OLDEST_REPAIRED_MAJOR = 15
/** From here on it notices in the middle of a statement that its client died. */
const NOTICES_MAJOR = 14

async function serverOf(context: DoctorContext): Promise<ServerRow | undefined> {
  return (await context.database().query<ServerRow>(sql.server)).rows[0]
}

export const serverVersion: Check = {
  name: 'server_version',
  title: `PostgreSQL is at version ${OLDEST_REPAIRED_MAJOR} or newer, and the database's encoding is UTF8.`,
  async run(context) {
    const server = await serverOf(context)
    return server === undefined ? [] : [...judgeVersion(server), ...judgeEncoding(server)]
  },
}

/** What there is to say of a server's version. */
export function judgeVersion({
  version,
  version_number: number,
}: Pick<ServerRow, 'version' | 'version_number'>): Finding[] {
  const major = majorOf(number)
  const remedy = `upgrade to PostgreSQL ${OLDEST_REPAIRED_MAJOR} or newer`
  if (major < OLDEST_MAJOR)
    return [fault(`PostgreSQL is at ${version}: it lacks functions that Tidemark uses`, remedy)]
  if (major < OLDEST_REPAIRED_MAJOR) {
    const blind = major < NOTICES_MAJOR ? ' and does not notice a client that died' : ''
    return [warning(`PostgreSQL is at ${version}, which gets no repairs any more${blind}`, remedy)]
  }
  return []
}

function judgeEncoding({ encoding }: ServerRow): Finding[] {
  if (encoding === 'UTF8') return []
  const seen = `the database's encoding is ${encoding}: a message with a letter that it lacks could not be taken in`
  return [fault(seen, "CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0, and move there")]
}

export const primary: Check = {
  name: 'primary',
  title:
    'The database is the primary: a standby may call running transactions finished, and rows would be skipped.',
  async run(context) {
    if ((await serverOf(context))?.is_standby !== true) return []
    const seen =
      'the address leads to a standby (pg_is_in_recovery): nothing can be written, and what it says of living transactions is not true'
    return [fault(seen, "set DATABASE_URL to the primary's address")]
  },
}

/** A setting as a session of this role begins with it. */
interface SettingRow extends Record<string, unknown> {
  readonly name: string
  readonly value: string
  readonly source: string
  readonly remedy: string
}

/** Reads settings, with what would set each right; names that this server does not know are left out. */
export async function readSettings(
  context: DoctorContext,
  wanted: Readonly<Record<string, string>>,
): Promise<readonly SettingRow[]> {
  const values = [Object.keys(wanted), Object.values(wanted)]
  return (await context.database().query<SettingRow>(sql.settings, values)).rows
}

/** What is said of a setting by its name and value; undefined: it is as it should be. */
type Judge = (row: SettingRow) => Finding | undefined

async function judged(
  context: DoctorContext,
  rules: Readonly<Record<string, readonly [wanted: string, Judge]>>,
): Promise<Finding[]> {
  const wanted = Object.fromEntries(Object.entries(rules).map(([name, [value]]) => [name, value]))
  const rows = await readSettings(context, wanted)
  return rows.flatMap((row) => rules[row.name]?.[1](row) ?? [])
}

export const durability: Check = {
  name: 'durability',
  title: 'What is committed survives a crash of the server.',
  run: (context) =>
    judged(context, {
      fsync: [
        'on',
        ({ value, remedy }) =>
          whenOff(
            value,
            fault('fsync is off: a crash of the machine may leave the whole database unreadable', remedy),
          ),
      ],
      full_page_writes: [
        'on',
        ({ value, remedy }) =>
          whenOff(value, fault('full_page_writes is off: a crash may leave pages half written', remedy)),
      ],
      synchronous_commit: [
        'on',
        ({ value, source, remedy }) =>
          whenOff(
            value,
            fault(
              `synchronous_commit is off (${source}): after a crash of the server a message that was DONE may run again, with its outside effects`,
              remedy,
            ),
          ),
      ],
    }),
}

function whenOff(value: string, finding: Finding): Finding | undefined {
  return value === 'off' ? finding : undefined
}

export const deadClients: Check = {
  name: 'dead_clients',
  title: 'The server notices a client that died in the middle of a statement.',
  run: (context) =>
    judged(context, {
      client_connection_check_interval: [
        '1s',
        ({ value, remedy }) =>
          value === '0'
            ? warning(
                'client_connection_check_interval is 0: what an instance had locked when it died stays locked until its statement is over',
                remedy,
              )
            : undefined,
      ],
    }),
}

export const roleSettings: Check = {
  name: 'role_settings',
  title: 'No default of the role or the database takes away what Tidemark relies on.',
  async run(context) {
    const { settings } = context
    const longestMs = Math.max(0, ...context.config().processors.map(({ timeoutMs }) => timeoutMs))
    const { work } = await context.ways()
    const found = await judged(context, {
      default_transaction_read_only: [
        'off',
        ({ value, source, remedy }) =>
          value === 'on'
            ? fault(
                `default_transaction_read_only is on (${source}): nothing can be claimed, taken in or led`,
                remedy,
              )
            : undefined,
      ],
      default_transaction_isolation: [
        'read committed',
        ({ value, source, remedy }) => {
          if (value === 'read committed') return undefined
          const seen = `default_transaction_isolation is ${value} (${source})`
          // Sessions without a pooler set it themselves.
          return work.pooling === 'none'
            ? warning(`${seen}: instances set their own, psql and handlers' other connections do not`, remedy)
            : fault(`${seen}, and a pooler lets no session have another: start refuses`, remedy)
        },
      ],
      transaction_timeout: [
        '0',
        ({ value, remedy }) =>
          value !== '0' && Number(value) < longestMs
            ? warning(
                `transaction_timeout is ${value} ms, and a handler may take ${longestMs} ms: its transaction would be ended before`,
                remedy,
              )
            : undefined,
      ],
      statement_timeout: [
        `${settings.statementTimeoutMs}ms`,
        ({ value, remedy }) =>
          work.pooling !== 'none' && value !== '0' && Number(value) < settings.statementTimeoutMs
            ? warning(
                `statement_timeout of the role is ${value} ms, below DB_STATEMENT_TIMEOUT_SECONDS (${settings.statementTimeoutMs} ms), and behind a pooler the role's holds`,
                remedy,
              )
            : undefined,
      ],
    })
    return found
  },
}
