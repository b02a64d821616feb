import type { Client, QueryArrayConfig } from 'pg'
import { print, table } from './terminal.ts'

/** What a query gave: every value as PostgreSQL writes it, null where it is NULL. */
export interface QueryOutput {
  readonly columns: readonly { readonly name: string; readonly type: number }[]
  readonly rows: readonly (readonly (string | null)[])[]
  /** `SELECT`, `EXPLAIN`, … */
  readonly command: string
}

/** Type numbers of `pg_type`, fixed for built-in types. */
const BOOLEAN = 16
const NUMBERS: ReadonlySet<number> = new Set([20, 21, 23, 26, 700, 701, 1700])
const JSON_TYPES: ReadonlySet<number> = new Set([114, 3802])

/** Runs one statement. A second one in the same text is an error, so that none can end the transaction around it. */
export async function runQuery(client: Client, text: string): Promise<QueryOutput> {
  // The types of node-postgres do not know queryMode yet.
  const query: QueryArrayConfig & { queryMode: 'extended' } = {
    text,
    rowMode: 'array',
    // The extended protocol takes exactly one statement.
    queryMode: 'extended',
    // As PostgreSQL writes them: a Date would lose the microseconds.
    types: { getTypeParser: () => (value: string | Buffer) => String(value) },
  }
  const result = await client.query<(string | null)[]>(query)
  const columns = result.fields.map(({ name, dataTypeID }) => ({ name, type: dataTypeID }))
  return { columns, rows: result.rows, command: result.command }
}

/** Rows as objects: numbers where they are exact, booleans and JSON as such, everything else as text. */
export function asObjects({ columns, rows }: QueryOutput): Record<string, unknown>[] {
  return rows.map((row) =>
    Object.fromEntries(columns.map(({ name, type }, i) => [name, asJson(row[i] ?? null, type)])),
  )
}

function asJson(value: string | null, type: number): unknown {
  if (value === null) return null
  if (type === BOOLEAN) return value === 't'
  if (JSON_TYPES.has(type)) return JSON.parse(value) as unknown
  if (NUMBERS.has(type) && String(Number(value)) === value && Number.isFinite(Number(value)))
    return Number(value)
  return value
}

/** Prints a table, or one block per row where the table would be wider than the terminal, and the count of rows. */
export function printResult(output: QueryOutput, width = process.stdout.columns as number | undefined): void {
  const { columns, rows } = output
  if (columns.length === 0) {
    print(output.command)
    return
  }
  const shown = rows.map((row) => row.map((value) => value ?? ''))
  const text = table(
    columns.map(({ name }) => name),
    shown,
  )
  const tooWide = width !== undefined && text.split('\n').some((line) => line.length > width)
  print(tooWide && rows.length > 0 ? blocks(output) : text)
  print(`(${rows.length} ${rows.length === 1 ? 'row' : 'rows'})`)
}

function blocks({ columns, rows }: QueryOutput): string {
  const longest = Math.max(...columns.map(({ name }) => name.length))
  return rows
    .map((row, number) =>
      [
        `-[ ${number + 1} ]-`,
        ...columns.map(({ name }, i) => `${name.padEnd(longest)}  ${row[i] ?? ''}`.trimEnd()),
      ].join('\n'),
    )
    .join('\n')
}
