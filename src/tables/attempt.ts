import type { Queryable } from '../db/pool.ts'
import { fillIdentifiers, loadStatements } from '../db/statements.ts'

const sql = loadStatements('attempt', ['write', 'of_message'])

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
  return (await db.query<MessageAttempt & Record<string, unknown>>(sql.of_message, [inboxId])).rows
}

/** A statement that ends claims otherwise than DONE, with what writes that down. */
export function noting(statement: string): string {
  return fillIdentifiers(statement, { attempts: sql.write })
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
