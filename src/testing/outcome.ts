import type { QueryResultRow } from 'pg'
import type { Queryable } from '../db/pool.ts'
import { sql } from './statements.ts'

/** A message of the inbox as it stands. */
export interface InboxMessage {
  readonly inboxId: string
  /** The poller or intake that it came by. */
  readonly source: string
  readonly messageId: string
  /**
   * `NEW`: waits for its first attempt; `DONE`; `FAILED`: will be tried again at `nextAttemptAt`; `DEAD`: no attempt is left, or it is
   * no use to try again; `PROCESSING`; `DISCARDED`.
   */
  readonly status: 'NEW' | 'PROCESSING' | 'DONE' | 'FAILED' | 'DEAD' | 'DISCARDED'
  /** Attempts that count so far. */
  readonly attempts: number
  readonly maxAttempts: number
  /** Times that it was given back through no fault of its own. */
  readonly interruptions: number
  /** Class and first line of what the handler threw last, as operators see it; undefined when nothing did since it was done. */
  readonly error: string | undefined
  /** When it may be tried again, by the database's clock; undefined unless it is FAILED. */
  readonly nextAttemptAt: Date | undefined
  /** As the handler gets it: parsed JSON. */
  readonly payload: unknown
  readonly groupKey: string | undefined
  readonly traceId: string
  readonly processedAt: Date | undefined
}

/** What became of one message in one step. */
export interface Outcome extends InboxMessage {
  readonly processor: string
  /** False: the message had its end, or waits for its time, so no handler ran. */
  readonly ran: boolean
  /** What the handler threw, itself, with its stack; undefined where it threw nothing, and for a delivery by HTTP. */
  readonly thrown: unknown
}

/** What became of one run of a job. */
export interface JobOutcome {
  readonly job: string
  readonly id: string
  /** `FAILED`: it will be run again; `DEAD`: no retry is left. */
  readonly status: 'DONE' | 'FAILED' | 'DEAD'
  /** Runs so far, this one included. */
  readonly attempts: number
  /** Class and first line of what the handler threw. */
  readonly error: string | undefined
  readonly thrown: unknown
  readonly traceId: string
}

interface MessageRow extends QueryResultRow {
  inbox_id: string
  source: string
  message_id: string
  status: InboxMessage['status']
  attempts: number
  max_attempts: number
  interruptions: number
  last_error: string | null
  next_attempt_at: Date | null
  payload: unknown
  group_key: string | null
  trace_id: string
  processed_at: Date | null
}

/** Messages in order of their coming in: of these sources, with these ids, or all. */
export async function readInbox(
  db: Queryable,
  sources?: readonly string[],
  ids?: readonly string[],
): Promise<InboxMessage[]> {
  const { rows } = await db.query<MessageRow>(sql.messages, [sources ?? null, ids ?? null])
  return rows.map((row) => ({
    inboxId: row.inbox_id,
    source: row.source,
    messageId: row.message_id,
    status: row.status,
    attempts: row.attempts,
    maxAttempts: row.max_attempts,
    interruptions: row.interruptions,
    error: row.last_error ?? undefined,
    nextAttemptAt: row.next_attempt_at ?? undefined,
    payload: row.payload,
    groupKey: row.group_key ?? undefined,
    traceId: row.trace_id,
    processedAt: row.processed_at ?? undefined,
  }))
}

/** Whether anything of these sources may be claimed now, as far as its own row tells. */
export async function isDue(db: Queryable, sources: readonly string[]): Promise<boolean> {
  const { rows } = await db.query<{ due: boolean }>(sql.due, [sources])
  return rows[0]?.due === true
}
