import type { Queryable } from '../db/pool.ts'
import { fillIdentifiers, loadStatements } from '../db/statements.ts'

const sql = withConditions(
  loadStatements('operator', ['matching', 'unread', 'list', 'show', 'count', 'unknown', 'retry', 'discard']),
)

/** What a message can be, as its `status` column says. */
export const STATUSES = ['NEW', 'PROCESSING', 'DONE', 'FAILED', 'DEAD', 'DISCARDED'] as const
export type Status = (typeof STATUSES)[number]

/** Which messages; what is undefined excludes none. */
export interface MessageFilter {
  /** `inbox_id`s, as text. */
  readonly ids?: readonly string[] | undefined
  readonly sources?: readonly string[] | undefined
  readonly statuses?: readonly Status[] | undefined
  readonly trace?: string | undefined
  /** Class of the newest failure (`TypeError`), or its SQLSTATE (`23505`). */
  readonly error?: string | undefined
  /** Taken in at or after this time: ISO 8601 text, or milliseconds ago by the database's clock. */
  readonly since?: string | number | undefined
}

/** A part of what matches, newest first: older than `before`, `limit` at most. */
export interface MessagePage {
  readonly before: string | undefined
  readonly limit: number
}

/** A line of `inbox list`. */
export interface ListedMessage {
  readonly inbox_id: number
  readonly source: string
  readonly message_id: string
  readonly status: Status
  readonly attempts: number
  readonly max_attempts: number
  /** Since it was taken in. */
  readonly age_seconds: number
  readonly error: string | null
}

/** How many messages of one status match. */
export interface MessageCount {
  readonly status: Status
  readonly found: number
  /** Of those, messages without a payload, because their source row could not be read. */
  readonly unread: number
}

/** What one batch of a retry or discard did. */
export interface Batch {
  /** The greatest number looked at; the next batch begins after it. Null: nothing was left. */
  readonly last: string | null
  readonly seen: number
  /** Fewer than `seen` when somebody else held or changed a message at that moment. */
  readonly changed: number
  /** Sources of the changed messages. */
  readonly sources: readonly string[]
}

/** Where a batch begins and ends. */
export interface BatchBounds {
  readonly after: string
  readonly limit: number
}

export async function listMessages(
  db: Queryable,
  filter: MessageFilter,
  { before, limit }: MessagePage,
): Promise<ListedMessage[]> {
  const values = [...filterValues(filter), before ?? null, limit]
  return (await db.query<ListedMessage & Record<string, unknown>>(sql.list, values)).rows
}

/** A whole message as JSON text, in which numbers and times are exact. */
export interface ShownMessage {
  /** Every column but the payload, in an order for people. */
  readonly document: string
  /** Null where it was not asked for, or is NULL. */
  readonly payload: string | null
}

export async function showMessages(
  db: Queryable,
  filter: MessageFilter,
  { before, limit }: MessagePage,
  withPayload: boolean,
): Promise<ShownMessage[]> {
  const values = [...filterValues(filter), before ?? null, limit, withPayload]
  return (await db.query<ShownMessage & Record<string, unknown>>(sql.show, values)).rows
}

/** Counts what matches, by status. */
export async function countMessages(db: Queryable, filter: MessageFilter): Promise<MessageCount[]> {
  return (await db.query<MessageCount & Record<string, unknown>>(sql.count, filterValues(filter))).rows
}

/** Those of the numbers that no message has. */
export async function unknownIds(db: Queryable, ids: readonly string[]): Promise<string[]> {
  return (await db.query<{ id: string }>(sql.unknown, [ids])).rows.map(({ id }) => id)
}

/**
 * Makes one batch of DEAD, FAILED and DISCARDED messages claimable now, with all their attempts before them.
 * @param unread also messages whose source row could not be read: their handler gets a payload of null
 */
export async function retryBatch(
  db: Queryable,
  filter: MessageFilter,
  { after, limit }: BatchBounds,
  unread: boolean,
): Promise<Batch> {
  return batch(db, sql.retry, [...filterValues(filter), after, limit, unread])
}

/** Gives up one batch of NEW, FAILED and DEAD messages for good. */
export async function discardBatch(
  db: Queryable,
  filter: MessageFilter,
  { after, limit }: BatchBounds,
): Promise<Batch> {
  return batch(db, sql.discard, [...filterValues(filter), after, limit])
}

async function batch(db: Queryable, statement: string, values: readonly unknown[]): Promise<Batch> {
  const { rows } = await db.query<Batch & Record<string, unknown>>(statement, [...values])
  const [row] = rows
  if (row === undefined) throw new Error('a SELECT without FROM gave no row')
  return row
}

/** $1 to $7 of every statement. */
function filterValues({ ids, sources, statuses, trace, error, since }: MessageFilter): unknown[] {
  const [time, ago] = typeof since === 'number' ? [null, since] : [since ?? null, null]
  return [ids ?? null, sources ?? null, statuses ?? null, trace ?? null, error ?? null, time, ago]
}

type Texts = Readonly<
  Record<'matching' | 'unread' | 'list' | 'show' | 'count' | 'unknown' | 'retry' | 'discard', string>
>

function withConditions({ matching, unread, list, show, count, unknown, retry, discard }: Texts) {
  return {
    list: fillIdentifiers(list, { matching }),
    show: fillIdentifiers(show, { matching }),
    count: fillIdentifiers(count, { matching, unread }),
    unknown,
    retry: fillIdentifiers(retry, { matching, unread }),
    discard: fillIdentifiers(discard, { matching }),
  }
}
