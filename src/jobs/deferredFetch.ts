/**
 * pg-boss's fetch of a user's job, without a wait for the disk of its own.
 *
 * A handler begins only when its claim is durable (claims.ts), and the claim's commit lies behind the fetch's in the log: one
 * wait makes both durable. A server that crashes in between has neither, the handler has not begun, and the job is queued as
 * before. Where there is no claim (passes, upkeep) the fetch stays durable by itself.
 *
 * It is planned once a connection, too, like the claim: with the indexes of pg-boss's table that takes longer than the fetch.
 */
import { createHash } from 'node:crypto'
import type { Db } from 'pg-boss'
import type { Preparing } from '../db/pool.ts'
import { jobQueue } from './queues.ts'

type Answer = Awaited<ReturnType<Db['executeSql']>>

/** By what it is known among pg-boss's statements; its version is pinned, and a test sees a fetch that is deferred. */
const IS_FETCH = new RegExp(
  String.raw`^\s*WITH\s+next AS \([\s\S]*?j\.name = '${jobQueue('')}[\s\S]*\sFOR UPDATE OF j SKIP LOCKED[\s\S]*\sRETURNING\s[^;]*$`,
)

/** Undefined: it is no such fetch. */
export function deferredFetch(
  db: Preparing,
  text: string,
  values: readonly unknown[] = [],
): Promise<Answer> | undefined {
  if (!IS_FETCH.test(text)) return undefined
  // Holds to the end of this statement's transaction, and is looked at when that commits. Without a row nothing was written;
  // nobody reads the column.
  const deferred = `${text.trimEnd()}, set_config('synchronous_commit', 'off', true) AS tidemark_deferred`
  const name = `tidemark_fetch_${createHash('sha256').update(deferred).digest('hex').slice(0, 16)}`
  return db.prepared<Record<string, unknown>>(name, deferred, values)
}
