/**
 * How a row of a source is made: by what its columns allow, or by a statement of the user's.
 */
import type { ResolvedPoller } from '../config/resolved.ts'
import { quoteIdentifier, quoteQualified } from '../db/identifier.ts'
import type { Queryable } from '../db/pool.ts'
import { fillIdentifiers, loadStatements } from '../db/statements.ts'
import { RehearsalImpossible } from '../errors.ts'
import { cleanError } from '../telemetry/errorText.ts'

const sql = loadStatements('rehearsal_writer', ['write', 'write_by'])
const place = loadStatements('rehearsal_rows', ['columns', 'resolve', 'let_through'])

export interface RowWriter {
  readonly poller: string
  /** Writes and notes rows, in the transaction that the client is in. */
  write(client: Queryable, rows: number): Promise<void>
}

interface Column {
  readonly name: string
  readonly not_null: boolean
  readonly has_default: boolean
  /** Its value cannot be given. */
  readonly fixed: boolean
  readonly type: string
  readonly base_type: string
  readonly category: string
  readonly referenced: string | null
  readonly referenced_column: string | null
}

/** A new number for each row, so that what must be unique is. */
const NUMBER = "nextval('tidemark_rehearsal.number')"

const VALUE_BY_TYPE: Readonly<Record<string, string>> = {
  uuid: 'gen_random_uuid()',
  json: `json_build_object('rehearsal', true)`,
  jsonb: `jsonb_build_object('rehearsal', true)`,
  bytea: String.raw`'\x00'`,
  date: 'current_date',
  'time without time zone': 'localtime',
  'time with time zone': 'current_time',
  xml: `xmlparse(content '<rehearsal/>')`,
}

/** By `pg_type.typcategory`: text, numbers, booleans, times, spans, addresses, arrays, enums. */
const VALUE_BY_CATEGORY: Readonly<Record<string, (column: Column) => string>> = {
  // The number first: a short column keeps that of it.
  S: () => `${NUMBER} || ' of a rehearsal'`,
  N: () => NUMBER,
  B: () => 'false',
  D: () => 'now()',
  T: () => `interval '1 minute'`,
  I: () => `inet '127.0.0.1'`,
  A: () => `'{}'`,
  E: ({ base_type: type }) => `(enum_range(NULL::${type}))[1]`,
  R: () => `'empty'`,
}

/** Groups are there to be several, and each to have more than one message. */
const GROUPS = 20

/** A condition may let only some rows through, and a value that is always the same may do for one row alone. */
const TRIED_ROWS = 20

/** How to write to each poller's source. Each way is tried once, and rolled back. Throws {@link RehearsalImpossible}. */
export async function planRows(
  client: Queryable,
  pollers: readonly ResolvedPoller[],
  inserts: readonly string[],
): Promise<RowWriter[]> {
  const byTable = new Map<string, string>()
  for (const insert of inserts) byTable.set(await resolved(client, tableOf(insert)), insert)
  const writers: RowWriter[] = []
  for (const { name, source } of pollers) {
    const table = await resolved(client, quoteQualified(source.table))
    const insert = byTable.get(table)
    byTable.delete(table)
    const writer =
      insert === undefined
        ? await madeWriter(client, name, table, source)
        : givenWriter(name, insert, source.id)
    await tried(client, writer, { table, source, insert })
    writers.push(writer)
  }
  const [left] = byTable.keys()
  if (left !== undefined)
    throw new RehearsalImpossible(
      `--insert writes to ${left}, which no poller reads`,
      'name a source of the config',
    )
  return writers
}

async function resolved(client: Queryable, table: string): Promise<string> {
  const { rows } = await client.query<{ name: string | null }>(place.resolve, [table])
  const name = rows[0]?.name ?? null
  if (name !== null) return name
  throw new RehearsalImpossible(
    `there is no table ${table} in the scratch database`,
    "make the app's tables there, or give the SQL that does with --setup FILE.sql",
  )
}

/** The table that an INSERT writes to, as it is written there. */
function tableOf(insert: string): string {
  const [, table] =
    /\binsert\s+into\s+((?:"(?:[^"]|"")+"|[\w$]+)(?:\.(?:"(?:[^"]|"")+"|[\w$]+))?)/i.exec(insert) ?? []
  if (table === undefined || /\breturning\b/i.test(insert))
    throw new RehearsalImpossible(
      `--insert ${JSON.stringify(insert)} cannot be used`,
      'give one INSERT INTO … without RETURNING',
    )
  return table
}

function givenWriter(poller: string, insert: string, id: string): RowWriter {
  const text = fillIdentifiers(sql.write_by, {
    insert: insert.trim().replace(/;$/, ''),
    id: quoteIdentifier(id),
  })
  return {
    poller,
    async write(client, rows) {
      for (let row = 0; row < rows; row += 1) await client.query(text, [poller])
    },
  }
}

async function madeWriter(
  client: Queryable,
  poller: string,
  table: string,
  source: ResolvedPoller['source'],
): Promise<RowWriter> {
  const { rows: columns } = await client.query<Column & Record<string, unknown>>(place.columns, [table])
  const given = columns.flatMap((column) => {
    const value = valueOf(column, source)
    return value === undefined ? [] : [{ name: quoteIdentifier(column.name), value }]
  })
  const text = fillIdentifiers(sql.write, {
    table,
    columns: given.length === 0 ? '' : `(${given.map(({ name }) => name).join(', ')})`,
    values: given.map(({ value }) => value).join(', '),
    id: quoteIdentifier(source.id),
  })
  return { poller, write: (target, rows) => target.query(text, [poller, rows]).then(() => undefined) }
}

/** SQL of a column's value; undefined: it is left to its default, or NULL. */
function valueOf(column: Column, source: ResolvedPoller['source']): string | undefined {
  if (column.fixed || column.has_default) return undefined
  const wanted = column.name === source.id || column.name === source.createdAt
  if (column.name === source.groupKey && column.category === 'S' && column.referenced === null)
    return `('group ' || floor(random() * ${GROUPS}))::${column.type}`
  if (!column.not_null && !wanted && column.name !== source.groupKey) return undefined
  if (column.referenced !== null)
    return `(SELECT r.${column.referenced_column ?? ''} FROM ${column.referenced} r ORDER BY random() LIMIT 1)`
  const value = VALUE_BY_TYPE[column.base_type] ?? VALUE_BY_CATEGORY[column.category]?.(column)
  // What has no value here is left to the database, which refuses it by name.
  return value === undefined ? undefined : `(${value})::${column.type}`
}

interface Trial {
  readonly table: string
  readonly source: ResolvedPoller['source']
  /** The user's statement, where one is used. */
  readonly insert: string | undefined
}

async function tried(client: Queryable, writer: RowWriter, trial: Trial): Promise<void> {
  const { table, source, insert } = trial
  const { poller } = writer
  const remedy = `give the statement that writes one with --insert 'INSERT INTO ${table} (…) VALUES (…)'`
  await client.query('BEGIN')
  try {
    await writer.write(client, TRIED_ROWS)
    if (source.where === null || (await letThrough(client, poller, source))) return
  } catch (error) {
    const why = `${table}, which ${poller} reads: ${cleanError(error).text}`
    throw insert === undefined
      ? new RehearsalImpossible(`no row could be made for ${why}`, remedy, { cause: error })
      : new RehearsalImpossible(
          `--insert ${JSON.stringify(insert)} could not write ${TRIED_ROWS} rows to ${why}`,
          'it is run once for each row, so what must be unique needs a new value each time, such as gen_random_uuid()',
          { cause: error },
        )
  } finally {
    await client.query('ROLLBACK')
  }
  throw insert === undefined
    ? new RehearsalImpossible(
        `no row that \`where\` of ${poller} (${source.where}) lets through could be made for ${table}`,
        remedy,
      )
    : new RehearsalImpossible(
        `--insert ${JSON.stringify(insert)} makes no row that \`where\` of ${poller} (${source.where}) lets through`,
        'give one that does',
      )
}

/** Whether the poller would take in any row that has been written. */
async function letThrough(
  client: Queryable,
  poller: string,
  source: ResolvedPoller['source'],
): Promise<boolean> {
  const text = fillIdentifiers(place.let_through, {
    table: quoteQualified(source.table),
    id: quoteIdentifier(source.id),
    where: source.where ?? 'true',
  })
  const { rows } = await client.query<{ any: boolean }>(text, [poller])
  return rows[0]?.any === true
}
