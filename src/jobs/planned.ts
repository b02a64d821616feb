/**
 * Two statements of pg-boss's that stand between the send of a job and its handler, as this program makes them.
 *
 * - *Insert and fetch are planned once a connection.* With the indexes of pg-boss's table planning takes longer than doing.
 * - *The fetch of a user's job has no wait for the disk of its own.* A handler begins only when its claim is durable (claims.ts),
 *   and the claim's commit lies behind the fetch's in the log: one wait makes both durable. A server that crashes in between
 *   has neither, the handler has not begun, and the job is queued as before. Where there is no claim (passes, upkeep) the fetch
 *   stays durable by itself.
 */
import { createHash } from 'node:crypto'
import type { Db } from 'pg-boss'
import type { Preparing } from '../db/pool.ts'
import { jobQueue } from './queues.ts'

type Answer = Awaited<ReturnType<Db['executeSql']>>

/** By what they are known among pg-boss's statements; its version is pinned, and a test meets them. */
const IS_INSERT = /^\s*WITH ins AS \(\s*INSERT INTO \S+ \(/
const IS_FETCH = /^\s*WITH\s+next AS \([\s\S]*\sFOR UPDATE OF j SKIP LOCKED[\s\S]*\sRETURNING\s[^;]*$/
const OF_USERS_JOB = `j.name = '${jobQueue('')}`

/** Undefined: it is none of them. */
export function planned(
  db: Preparing,
  text: string,
  values: readonly unknown[] = [],
): Promise<Answer> | undefined {
  const isFetch = IS_FETCH.test(text)
  if (!isFetch && !IS_INSERT.test(text)) return undefined
  const sent = isFetch && text.includes(OF_USERS_JOB) ? deferred(text) : text
  const name = `tidemark_boss_${createHash('sha256').update(sent).digest('hex').slice(0, 16)}`
  return db.prepared<Record<string, unknown>>(name, sent, values)
}

/**
 * Holds to the end of the statement's own transaction, and is looked at when that commits. Without a row nothing was written;
 * nobody reads the column.
 */
function deferred(fetch: string): string {
  return `${fetch.trimEnd()}, set_config('synchronous_commit', 'off', true) AS tidemark_deferred`
}
