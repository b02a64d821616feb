import type { Client } from 'pg'
import { runsOutsideTransaction } from './files.ts'
import { sql } from './statements.ts'

/** Limits for the statements of ordinary files, in milliseconds. */
export interface FileLimits {
  readonly statementTimeoutMs: number
  /** How long a statement may wait for a lock: for as long, everybody who comes after it waits too. */
  readonly lockTimeoutMs: number
}

/** Sets both limits for the session; 0 is none. */
export async function setLimits(client: Client, limits: FileLimits): Promise<void> {
  await client.query(sql.set_limits, [String(limits.statementTimeoutMs), String(limits.lockTimeoutMs)])
}

/**
 * Runs one file's text. One that asks to run outside a transaction builds an index CONCURRENTLY: that takes as long as
 * the table is big and waits for every older transaction, so neither limit is for it.
 */
export async function runText<R>(
  client: Client,
  text: string,
  limits: FileLimits,
  run: () => Promise<R>,
): Promise<R> {
  if (!runsOutsideTransaction(text)) return run()
  await setLimits(client, { statementTimeoutMs: 0, lockTimeoutMs: 0 })
  try {
    return await run()
  } finally {
    // When the connection broke, the error of `run` says so; this one would only hide it.
    await setLimits(client, limits).catch(() => undefined)
  }
}

/** An invalid index that a failed CREATE INDEX CONCURRENTLY left behind; its file would keep it for good. */
export async function dropInvalidIndexes(client: Client, names: readonly string[]): Promise<void> {
  if (names.length === 0) return
  const { rows } = await client.query<{ drop: string }>(sql.invalid_indexes, [names])
  for (const { drop } of rows) await client.query(drop)
}
