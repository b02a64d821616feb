import type { Queryable } from '../db/pool.ts'
import { fillIdentifiers, loadStatements } from '../db/statements.ts'
import type { Status } from './operator.ts'

const { matching, listed, ...plain } = loadStatements('dashboard_messages', [
  'matching',
  'listed',
  'walk',
  'waiting',
  'find',
  'sources',
  'numbered',
  'errors',
  'message',
])
const sql = {
  ...plain,
  walk: fillIdentifiers(plain.walk, { matching, listed }),
  waiting: fillIdentifiers(plain.waiting, { matching, listed }),
  find: fillIdentifiers(plain.find, { matching, listed }),
}

/** Which messages; what is undefined excludes none. */
export interface BrowseFilter {
  readonly sources?: readonly string[] | undefined
  readonly statuses?: readonly Status[] | undefined
  readonly groupKey?: string | undefined
  /** Class of the newest failure, or its SQLSTATE. */
  readonly error?: string | undefined
  /** Taken in at or after this time, and before that one; ISO 8601 text. */
  readonly since?: string | undefined
  readonly until?: string | undefined
}

/** A message as a list shows it. Times are ISO 8601 text. */
export interface BrowsedMessage {
  readonly inbox_id: number
  readonly source: string
  readonly message_id: string
  readonly status: Status
  readonly group_key: string | null
  readonly attempts: number
  readonly max_attempts: number
  readonly trace_id: string
  readonly last_error: string | null
  readonly created_at: string
  readonly source_created_at: string | null
  readonly processed_at: string | null
  /** `infinity` for DEAD. */
  readonly next_attempt_at: string | null
  readonly locked_by: string | null
}

/** One step down the primary key. */
export interface Walked<Row> {
  /** Every row with this number or a higher one was looked at, unless as many were found as were wanted. */
  readonly reached: string
  readonly rows: readonly Row[]
}

/** Looks at `look` rows below `below`, and none below `floor`; finds `limit` at most. */
export async function walkMessages(
  db: Queryable,
  filter: BrowseFilter,
  step: { readonly below: string; readonly floor: string; readonly look: number; readonly limit: number },
): Promise<Walked<BrowsedMessage>> {
  const values = [...filterValues(filter), step.below, step.floor, step.look, step.limit]
  return only((await db.query<Walked<BrowsedMessage> & Record<string, unknown>>(sql.walk, values)).rows)
}

/** Messages that wait for something, FAILED and DEAD among them. */
export interface WaitingMessages {
  /** There are so many that not all were looked at: `rows` means nothing. */
  readonly many: boolean
  readonly rows: readonly BrowsedMessage[]
}

export async function waitingMessages(
  db: Queryable,
  filter: BrowseFilter,
  { below, limit, look }: { readonly below: string; readonly limit: number; readonly look: number },
): Promise<WaitingMessages> {
  const values = [...filterValues(filter), below, limit, look]
  return only((await db.query<WaitingMessages & Record<string, unknown>>(sql.waiting, values)).rows)
}

/** Finds messages by trace, by the id that they have at their source, or by their number. */
export async function findMessages(
  db: Queryable,
  filter: BrowseFilter,
  text: string,
  { below, limit }: { readonly below: string; readonly limit: number },
): Promise<readonly BrowsedMessage[]> {
  const number = NUMBER.test(text) ? text : null
  const values = [...filterValues(filter), text, number, below, limit]
  return only((await db.query<{ rows: BrowsedMessage[] }>(sql.find, values)).rows).rows
}

/** As PostgreSQL's bigint holds it. */
const NUMBER = /^[1-9][0-9]{0,17}$/

/** A source of the inbox, and the number at or below which no fresh message of it is open. */
export interface KnownSource {
  readonly source: string
  readonly low: string
}

export async function inboxSources(db: Queryable): Promise<readonly KnownSource[]> {
  return (await db.query<KnownSource & Record<string, unknown>>(sql.sources)).rows
}

/** The first number of the messages that were taken in at `time` or later, but for those of transactions open then. */
export async function numberAt(db: Queryable, time: string): Promise<string> {
  return only((await db.query<{ first: string }>(sql.numbered, [time])).rows).first
}

/** How many messages wait or were given up because of one class of error. */
export interface ErrorClass {
  readonly class: string
  readonly messages: number
  /** Of those, DEAD. */
  readonly dead: number
}

export async function errorClasses(db: Queryable, look: number, limit: number): Promise<ErrorClass[]> {
  return (await db.query<ErrorClass & Record<string, unknown>>(sql.errors, [look, limit])).rows
}

/** One message, whole. */
export interface WholeMessage extends BrowsedMessage {
  readonly interruptions: number
  readonly interruptions_in_a_row: number
  readonly suspect: boolean
  readonly claim: number
  readonly traceparent: string | null
  readonly locked_at: string | null
  readonly updated_at: string
  readonly age_seconds: number
  /** The table of its poller; null: it came by an intake, or the poller is not known any more. */
  readonly source_table: string | null
}

export interface ReadMessage {
  readonly message: WholeMessage
  /** Characters of its payload; null: it has none. */
  readonly length: number | null
  /** Its beginning, where it is longer than was asked for; null: none, or not asked for. */
  readonly payload: string | null
}

/** @param payloadCharacters undefined: without the payload */
export async function readMessage(
  db: Queryable,
  inboxId: string,
  payloadCharacters: number | undefined,
): Promise<ReadMessage | undefined> {
  const values = [inboxId, payloadCharacters !== undefined, payloadCharacters ?? 0]
  return (await db.query<ReadMessage & Record<string, unknown>>(sql.message, values)).rows[0]
}

/** $1 to $6 of every statement that filters. */
function filterValues({ sources, statuses, groupKey, error, since, until }: BrowseFilter): unknown[] {
  return [sources ?? null, statuses ?? null, groupKey ?? null, error ?? null, since ?? null, until ?? null]
}

function only<T>(rows: readonly T[]): T {
  const [row] = rows
  if (row === undefined) throw new Error('a SELECT without FROM gave no row')
  return row
}
