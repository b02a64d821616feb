/**
 * What a source's columns are for, guessed from what the catalogs say of a table. Each guess has its reason, which is written
 * beside it: whoever knows the table sees at once where it is wrong.
 *
 * Where a table has no such column, the config is written as it is right once the remedy has been done: an added column, or a
 * view that gives each row an id. The table itself is somebody else's, so a view is named wherever one will do.
 */
import { fault, warning, type Finding } from '../doctor/check.ts'
import { idOf, type Picked } from './guessId.ts'
import type { Look, LookedColumn } from './look.ts'

export interface Guess {
  /** Table or view, as the config names it. */
  readonly table: string
  readonly id: Picked
  readonly createdAt: Picked
  /** Zone of a time without one. */
  readonly timeZone: string | undefined
  /** Undefined: the whole row. */
  readonly payload: Picked | undefined
  readonly groupKey: Picked | undefined
  readonly traceId: Picked | undefined
  /** What has to be done before it can be polled, and what is only likely. */
  readonly findings: readonly Finding[]
  /** Everything that it names is there. */
  readonly isThere: boolean
}

export function guessSource(look: Look): Guess {
  const id = idOf(look)
  const time = timeOf(look)
  const payload = payloadOf(look)
  const trace = look.columns.find((column) => TRACE_NAMES.includes(column.name) && isText(column))
  const findings = [...id.findings, ...time.findings]
  return {
    table: id.table,
    id: id.picked,
    createdAt: time.picked,
    timeZone: time.timeZone,
    payload,
    groupKey: groupKeyOf(look, [id.picked.column, time.picked.column]),
    traceId: trace === undefined ? undefined : { column: trace.name, why: trace.type },
    findings,
    isThere: findings.every(({ severity }) => severity !== 'fault'),
  }
}

/** In order of preference. */
const TIME_NAMES = [
  'created_at',
  'inserted_at',
  'createdat',
  'insertedat',
  'created',
  'created_on',
  'creation_time',
  'received_at',
  'recorded_at',
  'enqueued_at',
  'occurred_at',
  'sent_at',
  'event_time',
  'timestamp',
  'ts',
]
const NOT_THE_BEGINNING =
  /(?:^|_)(?:updat|modif|delet|expir|process|finish|complet|schedul|start|end|due|until|last|next|valid)/i
const ZONED = 'timestamp with time zone'
const UNZONED = 'timestamp without time zone'

function timeOf(look: Look): { picked: Picked; timeZone: string | undefined; findings: Finding[] } {
  const ranked = look.columns
    .filter(({ type, name }) => (type === ZONED || type === UNZONED) && !NOT_THE_BEGINNING.test(name))
    .map((column) => ({ column, rank: timeRank(column) }))
    .sort((a, b) => b.rank - a.rank)
  const best = ranked[0]?.column
  if (best !== undefined) {
    const byDefault = best.default_expression === null ? 'no default' : `DEFAULT ${best.default_expression}`
    const timeZone = best.type === UNZONED ? 'UTC' : undefined
    return { picked: { column: best.name, why: `${best.type}, ${byDefault}` }, timeZone, findings: [] }
  }
  const name = look.columns.some((column) => column.name === 'created_at') ? 'tidemark_at' : 'created_at'
  const isTable = look.relkind === 'r' || look.relkind === 'p'
  const remedy = isTable
    ? `ALTER TABLE ${look.table} ADD COLUMN ${name} timestamptz NOT NULL DEFAULT now() (the rows that are there get the time of now)`
    : `give it the time at which each row was written, as a timestamptz named ${name}: CREATE OR REPLACE VIEW ${look.table} AS …`
  return {
    picked: { column: name, why: 'to be added' },
    timeZone: undefined,
    findings: [
      fault(
        `${look.table} has no column with the time at which a row was written: a poller could not tell new rows from old ones`,
        remedy,
      ),
    ],
  }
}

function timeRank(column: LookedColumn): number {
  const byName = TIME_NAMES.indexOf(column.name.toLowerCase())
  const isSet = /now\(|current_timestamp|clock_timestamp|statement_timestamp/i.test(
    column.default_expression ?? '',
  )
  return (
    (byName < 0 ? 0 : 100 - byName) +
    (isSet ? 40 : 0) +
    (column.leads ? 10 : 0) +
    (column.type === ZONED ? 5 : 0) +
    (column.not_null ? 2 : 0)
  )
}

const PAYLOAD_NAMES = ['payload', 'data', 'body', 'event', 'message', 'content', 'document', 'details']

function payloadOf({ columns }: Look): Picked | undefined {
  for (const name of PAYLOAD_NAMES) {
    const found = columns.find((column) => column.name.toLowerCase() === name && isJson(column))
    if (found !== undefined) return { column: found.name, why: found.type }
  }
  return undefined
}

const GROUP_NAMES =
  /^(?:tenant|clinic|customer|account|organi[sz]ation|org|company|client|workspace|team|shop|store|merchant|project|site|group|user)(?:_?(?:id|key|uuid))$/i

function groupKeyOf({ columns }: Look, taken: readonly string[]): Picked | undefined {
  const free = columns.filter(({ name }) => !taken.includes(name))
  const named = free.find(({ name }) => GROUP_NAMES.test(name))
  if (named !== undefined) return { column: named.name, why: 'by its name' }
  const referring = free.filter(({ refers }) => refers)
  const [only] = referring
  return only === undefined || referring.length > 1
    ? undefined
    : { column: only.name, why: 'the only column that refers to another table' }
}

const TRACE_NAMES = ['trace_id', 'traceid', 'correlation_id']

function isText({ type }: LookedColumn): boolean {
  return type === 'text' || type === 'character varying'
}

function isJson({ type }: LookedColumn): boolean {
  return type === 'jsonb' || type === 'json'
}

/** Of a table without a useful index; a small one does not feel it. */
export function indexAdvice(look: Look, guess: Guess): Finding | undefined {
  if ((look.relkind !== 'r' && look.relkind !== 'p') || guess.table !== look.table) return undefined
  const column = (name: string): LookedColumn | undefined => look.columns.find((one) => one.name === name)
  if (column(guess.createdAt.column)?.leads === true) return undefined
  const quoted = (name: string): string => column(name)?.quoted ?? name
  // Of a partitioned table one index cannot be made for all partitions at once without their locks.
  const how = look.relkind === 'p' ? 'CREATE INDEX' : 'CREATE INDEX CONCURRENTLY'
  return warning(
    `no index of ${look.table} begins with ${guess.createdAt.column}: each page of a pass reads and sorts the whole table`,
    `${how} ON ${look.table} (${quoted(guess.createdAt.column)}, ${quoted(guess.id.column)})`,
  )
}
