import type { Queryable } from '../db/pool.ts'
import { loadStatements } from '../db/statements.ts'

const sql = loadStatements('trace', ['story', 'of_message_id', 'parents'])

/** A line of a trace's story, as `service_ops.trace()` tells it. */
export interface StoryLine {
  /** ISO 8601 text, to the microsecond. */
  readonly at: string
  /** Milliseconds since the first line. */
  readonly since_start_ms: number
  readonly what: string
  /** Who did it: an instance, a person, a table. Null: nobody knows. */
  readonly who: string | null
  readonly detail: string | null
}

/** Everything that is known under a trace id, in order; empty: nothing is. */
export async function readTrace(db: Queryable, traceId: string): Promise<StoryLine[]> {
  return (await db.query<StoryLine & Record<string, unknown>>(sql.story, [traceId])).rows
}

/** The traces of messages that have this id at their sources. */
export async function tracesOf(
  db: Queryable,
  messageId: string,
): Promise<{ source: string; trace_id: string }[]> {
  return (await db.query<{ source: string; trace_id: string }>(sql.of_message_id, [messageId])).rows
}

/** The `traceparent` that each of these messages came with, by number; those that came without are left out. */
export async function readTraceparents(
  db: Queryable,
  inboxIds: readonly string[],
): Promise<Map<string, string>> {
  const { rows } = await db.query<{ inbox_id: string; traceparent: string }>(sql.parents, [inboxIds])
  return new Map(rows.map((row) => [row.inbox_id, row.traceparent]))
}
