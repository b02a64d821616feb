import type { Queryable } from '../db/pool.ts'
import { isConnectionError, sqlState } from '../db/sqlstate.ts'
import { loadStatements } from '../db/statements.ts'
import type { InvariantResult } from './status/facts.ts'

const sql = loadStatements('verify', ['checks'])

/** What `service_ops.verify()` runs: an invariant, or an invariant of one poller. */
export interface Check {
  readonly name: string
  readonly title: string
  readonly meaning: string
  /** As it stands. */
  readonly query: string
  /** The GRANT that mends a refusal. */
  readonly remedy: string
}

/** Lends a connection for what is asked at once, with a limit of its own: what runs into it leaves the next one alone. */
export type Lend = <T>(ask: (db: Queryable) => Promise<T>) => Promise<T>

export async function listChecks(db: Queryable): Promise<Check[]> {
  return (await db.query<Check & Record<string, unknown>>(sql.checks)).rows
}

/**
 * Runs one, with the rights of the connection's role. One that is refused, or takes too long, is not known (`ok` is null), and
 * its detail says why.
 * @throws what says nothing of the check: that there is no connection, or none any more
 */
export async function runCheck(
  lend: Lend,
  { name, title, meaning, query, remedy }: Check,
): Promise<InvariantResult> {
  const result = (ok: boolean | null, found: number | null, detail: string): InvariantResult => ({
    name,
    ok,
    found,
    detail,
    query,
  })
  try {
    const { found, detail } = await lend(async (db) => {
      // By their places, as in verify(): an invariant need not name its columns.
      const text = `SELECT v.found, v.detail::text FROM (${query}\n) v(found, detail)`
      const { rows } = await db.query<{ found: string; detail: string | null }>(text)
      const [row] = rows
      if (row === undefined) throw new Error(`the query of ${name} gave no row`)
      return row
    })
    if (Number(found) === 0) return result(true, 0, title)
    return result(false, Number(found), detail === null ? meaning : `${meaning} First: ${detail}`)
  } catch (error) {
    if (!(error instanceof Error) || sqlState(error) === undefined || isConnectionError(error)) throw error
    const refused = sqlState(error) === INSUFFICIENT_PRIVILEGE
    return result(
      null,
      null,
      refused ? `${error.message}. To check this: ${remedy}` : `could not run: ${error.message}`,
    )
  }
}

const INSUFFICIENT_PRIVILEGE = '42501'

/** Runs every invariant, one after another. @throws as {@link runCheck}, and when they cannot be listed */
export async function readInvariants(lend: Lend): Promise<InvariantResult[]> {
  const results: InvariantResult[] = []
  for (const check of await lend(listChecks)) results.push(await runCheck(lend, check))
  return results
}
