import { fault, warning, type Finding } from '../doctor/check.ts'
import type { Look, LookedColumn } from './look.ts'

/** A column, and why it. */
export interface Picked {
  readonly column: string
  readonly why: string
}

/** The column that names a row for good. */
export interface IdGuess {
  /** The table, or the view that gives its rows an id. */
  readonly table: string
  readonly picked: Picked
  readonly findings: readonly Finding[]
}

/** What a pass can order rows by. */
const ID_TYPES = ['smallint', 'integer', 'bigint', 'uuid', 'text', 'character varying']

export function idOf(look: Look): IdGuess {
  const [primary] = look.keys.filter((key) => key.is_primary)
  const single = [primary, ...look.keys].find((key) => key?.columns.length === 1 && key.not_null)
  const [name = ''] = single?.columns ?? []
  const column = look.columns.find((one) => one.name === name)
  if (column !== undefined && fits(column)) {
    const why = `${single === primary ? 'primary key' : 'unique'}, ${column.type}`
    return { table: look.table, picked: { column: column.name, why }, findings: [] }
  }
  if (column !== undefined)
    return throughView(look, [column], `its key ${column.name} is ${whatKeeps(column)}`)
  if (primary !== undefined) return composite(look, primary.columns)
  return byName(look)
}

function fits({ type, deterministic }: LookedColumn): boolean {
  return ID_TYPES.includes(type) && deterministic
}

function whatKeeps({ type, deterministic }: LookedColumn): string {
  return deterministic
    ? `${type}, and ids may be ${ID_TYPES.join(', ')}`
    : `of a nondeterministic collation, under which different ids can be equal`
}

/** Of a partitioned table the key has to contain what it is partitioned by: most often a time, beside a real id. */
function composite(look: Look, names: readonly string[]): IdGuess {
  const columns = names.flatMap((name) => look.columns.find((one) => one.name === name) ?? [])
  const [only, ...more] = columns.filter(({ type }) => !/^timestamp|^date$/.test(type))
  const key = `(${names.join(', ')})`
  if (look.relkind === 'p' && only !== undefined && more.length === 0 && fits(only)) {
    return {
      table: look.table,
      picked: { column: only.name, why: `of the primary key ${key}, ${only.type}` },
      findings: [
        warning(
          `the key of ${look.table} is ${key}: PostgreSQL does not promise that ${only.name} alone is unique over all partitions, and two rows with one id are one message`,
          `see that ${only.name} is drawn once for each row (a sequence, a uuid): SELECT ${only.quoted} FROM ${look.table} GROUP BY 1 HAVING count(*) > 1`,
        ),
      ],
    }
  }
  return throughView(look, columns, `its key has ${columns.length} columns, ${key}, and a message has one id`)
}

/** A view with one more column, in which the key is one text. */
function throughView(look: Look, columns: readonly LookedColumn[], why: string): IdGuess {
  const id = look.columns.some(({ name }) => name === 'message_id') ? 'tidemark_id' : 'message_id'
  const parts = columns.map(({ quoted, type, category }, i) => {
    const text = `t.${quoted}::text`
    // Without its length before it, ('a:b', 'c') and ('a', 'b:c') would be one id.
    const isOpen = category === 'S' && type !== 'uuid' && i < columns.length - 1
    return isOpen ? `length(${text})::text || ':' || ${text}` : text
  })
  const deterministic = columns.every((column) => column.deterministic) ? '' : ' COLLATE "C"'
  const view = `CREATE VIEW ${look.viewName} AS SELECT t.*, (${parts.join(" || ':' || ")})${deterministic} AS ${id} FROM ${look.table} t`
  return {
    table: look.viewName,
    picked: { column: id, why: 'of the view' },
    findings: [fault(`${look.table} cannot be read by itself: ${why}`, view)],
  }
}

/** Without a key: a column that has the name of one, or none. */
function byName(look: Look): IdGuess {
  const isView = look.relkind === 'v' || look.relkind === 'm'
  const wanted = [
    'id',
    'uuid',
    'guid',
    'message_id',
    'event_id',
    `${look.name}_id`,
    `${look.name.replace(/s$/, '')}_id`,
  ]
  const found = wanted
    .flatMap((name) => look.columns.filter((one) => one.name.toLowerCase() === name.toLowerCase()))
    .find(fits)
  if (found !== undefined) {
    const why = `nothing promises that ${found.name} of ${look.table} is unique, and two rows with one id are one message`
    const remedy = isView
      ? `see that it is: SELECT ${found.quoted} FROM ${look.table} GROUP BY 1 HAVING count(*) > 1`
      : `CREATE UNIQUE INDEX CONCURRENTLY ON ${look.table} (${found.quoted})`
    return {
      table: look.table,
      picked: { column: found.name, why: `by its name, ${found.type}` },
      findings: [warning(why, remedy)],
    }
  }
  const id = look.columns.some(({ name }) => name === 'id') ? 'tidemark_id' : 'id'
  const remedy = isView
    ? `give it the key of what it reads, as a column named ${id}: CREATE OR REPLACE VIEW ${look.table} AS …`
    : `ALTER TABLE ${look.table} ADD COLUMN ${id} bigint GENERATED ALWAYS AS IDENTITY UNIQUE (it rewrites the table under a lock)`
  return {
    table: look.table,
    picked: { column: id, why: 'to be added' },
    findings: [
      fault(
        `${look.table} has no primary key and no column that is unique: nothing names a row for good`,
        remedy,
      ),
    ],
  }
}
