import type { QueryResultRow } from 'pg'
import type { Queryable } from '../db/pool.ts'
import { errorClass } from '../db/sqlstate.ts'
import type { ErrorClass } from '../db/sqlstate.ts'
import { fillIdentifiers, loadStatements } from '../db/statements.ts'

const sql = loadStatements('attempt', ['write', 'of_messages', 'forget_orphans'])

/** A claim that did not end in DONE. Times are ISO 8601 text. */
export interface MessageAttempt {
  readonly claim: number
  /** Which attempt it was, or would have been had it counted. */
  readonly attempt: number
  readonly instance_id: string
  /** Null: no handler had begun, as far as is known. */
  readonly started_at: string | null
  readonly ended_at: string
  readonly outcome: 'failed' | 'dead' | 'interrupted' | 'reclaimed'
  readonly error: string | null
}

/** What became of a message's claims, but for one that ended in DONE: the newest 50, in order. */
export async function readAttempts(db: Queryable, inboxId: string): Promise<MessageAttempt[]> {
  return (await readAttemptsOf(db, [inboxId])).get(inboxId) ?? []
}

/** The same of several messages, by their numbers; those without any are left out. */
export async function readAttemptsOf(
  db: Queryable,
  inboxIds: readonly string[],
): Promise<Map<string, MessageAttempt[]>> {
  type Row = MessageAttempt & Record<string, unknown> & { inbox_id: string }
  const { rows } = await db.query<Row>(sql.of_messages, [inboxIds])
  const attempts = new Map<string, MessageAttempt[]>()
  for (const { inbox_id: id, ...attempt } of rows) attempts.set(id, [...(attempts.get(id) ?? []), attempt])
  return attempts
}

/** How far a look for attempts of messages that are gone has come. */
export interface OrphanLook {
  readonly forgotten: number
  /** The greatest number of a message that was looked at, as text; null: there was none. */
  readonly upTo: string | null
}

/** Of the next `batch` attempts after this message's, deletes those of messages that are not there any more. */
export async function forgetOrphans(db: Queryable, after: string, batch: number): Promise<OrphanLook> {
  const { rows } = await db.query<{ forgotten: string; up_to: string | null }>(sql.forget_orphans, [
    after,
    batch,
  ])
  return { forgotten: Number(rows[0]?.forgotten), upTo: rows[0]?.up_to ?? null }
}

/** A statement that ends claims otherwise than DONE, with what writes that down, and without. */
export interface ClaimEnd {
  readonly noted: string
  readonly silent: string
}

export function claimEnd(statement: string): ClaimEnd {
  return {
    noted: fillIdentifiers(statement, { attempts: sql.write }),
    silent: fillIdentifiers(statement, { attempts: 'untold AS (SELECT)' }),
  }
}

/** How such a statement fails because of `message_attempt`: it is gone, another than ours, or not ours to write. */
const UNWRITABLE: ReadonlySet<ErrorClass> = new Set([
  'missing_table',
  'missing_column',
  'permission',
  'constraint',
])

/**
 * Ends claims. Where `message_attempt` cannot be written, they end without their story: it only tells of them, and an outcome
 * that waited for it would hold its message, and a drain, for as long as that may take. The pool has told of what failed by
 * then, so that somebody hears what is missing, and what brings it back.
 */
export async function endClaims<R extends QueryResultRow = QueryResultRow>(
  db: Queryable,
  { noted, silent }: ClaimEnd,
  values: readonly unknown[],
) {
  try {
    return await db.query<R>(noted, values)
  } catch (error) {
    const isAboutIt = error instanceof Error && error.message.includes('message_attempt')
    if (!isAboutIt || !UNWRITABLE.has(errorClass(error))) throw error
    return db.query<R>(silent, values)
  }
}

/** When a handler began and ended, by the monotonic clock. */
export interface Ended {
  /** Default: it has not begun. */
  readonly beganAt?: number | undefined
  /** Default: when its outcome is written. */
  readonly endedAt?: number | undefined
}

/** The same as milliseconds ago, since times in the database are the database's. */
export function agoOf(ended: readonly Ended[]): [began: (number | null)[], ended: (number | null)[]] {
  const now = performance.now()
  const ago = (at: number | undefined): number | null => (at === undefined ? null : now - at)
  return [ended.map((one) => ago(one.beganAt)), ended.map((one) => ago(one.endedAt))]
}
