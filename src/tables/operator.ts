import type { Queryable } from '../db/pool.ts'
import { fillIdentifiers, loadStatements } from '../db/statements.ts'

const sql = withConditions(load())

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

/** Which of the matching messages a change is for. */
export interface CandidateBounds {
  /** Only messages with a greater number. */
  readonly after: string
  readonly limit: number
  readonly statuses: readonly Status[]
  /** Also messages whose source row could not be read. */
  readonly unread: boolean
}

/** What one batch of a retry or discard did. */
export interface Batch {
  /** Fewer than were asked for when somebody else held or changed a message at that moment. */
  readonly changed: number
  /** Sources of the changed messages. */
  readonly sources: readonly string[]
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
  /** As text. */
  readonly inbox_id: string
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

/** Numbers of the messages that match and can be changed, in their order. */
export async function findCandidates(
  db: Queryable,
  filter: MessageFilter,
  { after, limit, statuses, unread }: CandidateBounds,
): Promise<string[]> {
  const values = [...filterValues(filter), after, limit, statuses, unread]
  return (await db.query<{ inbox_id: string }>(sql.candidates, values)).rows.map(({ inbox_id: id }) => id)
}

/** Makes those of `ids` that still match and are DEAD, FAILED or DISCARDED claimable now, with all their attempts. */
export async function retryBatch(
  db: Queryable,
  filter: MessageFilter,
  ids: readonly string[],
): Promise<Batch> {
  return batch(db, sql.retry, { ...filter, ids })
}

/** Gives up for good those of `ids` that still match and are NEW, FAILED or DEAD. */
export async function discardBatch(
  db: Queryable,
  filter: MessageFilter,
  ids: readonly string[],
): Promise<Batch> {
  return batch(db, sql.discard, { ...filter, ids })
}

async function batch(db: Queryable, statement: string, filter: MessageFilter): Promise<Batch> {
  const { rows } = await db.query<Batch & Record<string, unknown>>(statement, filterValues(filter))
  const [row] = rows
  if (row === undefined) throw new Error('a SELECT without FROM gave no row')
  return row
}

/** $1 to $7 of every statement. */
function filterValues({ ids, sources, statuses, trace, error, since }: MessageFilter): unknown[] {
  const [time, ago] = typeof since === 'number' ? [null, since] : [since ?? null, null]
  return [ids ?? null, sources ?? null, statuses ?? null, trace ?? null, error ?? null, time, ago]
}

function withConditions({
  matching,
  unread,
  list,
  show,
  count,
  unknown,
  candidates,
  retry,
  discard,
}: ReturnType<typeof load>) {
  return {
    list: fillIdentifiers(list, { matching }),
    show: fillIdentifiers(show, { matching }),
    count: fillIdentifiers(count, { matching, unread }),
    unknown,
    candidates: fillIdentifiers(candidates, { matching, unread }),
    retry: fillIdentifiers(retry, { matching }),
    discard: fillIdentifiers(discard, { matching }),
  }
}

function load() {
  return loadStatements('operator', [
    'matching',
    'unread',
    'list',
    'show',
    'count',
    'unknown',
    'candidates',
    'retry',
    'discard',
  ])
}
