import { setTimeout as work } from 'node:timers/promises'
import { Pool } from 'pg'
import { benchSql } from '../statements.ts'

/*
 * What both contestants' handlers do: write down that they have begun, work, write down that they have ended. On
 * connections of their own, so that what a queue believes of itself is not asked. The times are the database's, taken after
 * the handler has begun and before it returns: what is at once by them was at once in truth.
 */

export interface Visitor {
  readonly tenant: string
  readonly message: string
  readonly workMs: number
}

/** Of each process, for its visits alone. */
const CONNECTIONS = 4

/** By this the bench sees when a dead process's last statement is over. */
export const visitsOf = (process: string): string => `visits of ${process}`

/** The handler of one message, or of a batch that ends as a whole. */
export function openVisits(
  url: string,
  side: string,
  process: string,
): (visitors: readonly Visitor[]) => Promise<void> {
  const pool = new Pool({
    connectionString: url,
    max: CONNECTIONS,
    application_name: visitsOf(process),
    // It must not keep a process that has nothing else to do.
    allowExitOnIdle: true,
  })
  pool.on('error', () => undefined)
  return async (visitors) => {
    const tenants = visitors.map(({ tenant }) => tenant)
    const messages = visitors.map(({ message }) => message)
    const entered = [side, process, tenants, messages]
    const { rows } = await pool.query<{ id: string }>(benchSql('enter'), entered)
    await work(Math.max(...visitors.map(({ workMs }) => workMs)))
    await pool.query(benchSql('leave'), [rows.map(({ id }) => id)])
  }
}
