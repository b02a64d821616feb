/**
 * A clock that a test turns.
 *
 * Whatever Tidemark decides by time it decides in SQL, by comparing a stored time with the database's clock. That clock is the
 * server's; a function of the same name in another schema would not do, since defaults, views and functions have the real one
 * built in. So time passes by moving what is stored: `advance('5m')` makes every stored time five minutes earlier, and everything
 * that compares one with now() then sees what it would see five minutes later, whichever statement it is.
 *
 * *Moved*: every time in Tidemark's and pg-boss's tables, and each source's `createdAt` column, in one transaction and without
 * triggers (where the role may say so). Circuits of deliveries, which are in memory, are told.
 * *Not moved*: other columns of the app's tables; rows of transactions that are open at that moment; history_minute, whose time is
 * its key. *Real*: the database's own clock and the process's, timers, the `timeout` of a handler, the ticks of a cron job.
 */
import { parseDuration } from '../config/durations.ts'
import type { ResolvedPoller } from '../config/resolved.ts'
import type { Duration } from '../config/types.ts'
import { quoteIdentifier, quoteQualified } from '../db/identifier.ts'
import { interval } from '../db/interval.ts'
import type { Pool } from '../db/pool.ts'
import { fillIdentifiers, loadStatements } from '../db/statements.ts'
import { withTransaction } from '../db/transaction.ts'
import { TestStepImpossible } from '../errors.ts'
import { BOSS_SCHEMA } from '../jobs/schema.ts'

const sql = loadStatements('testing_clock', ['columns', 'quiet', 'move', 'time'])

export interface TestClock {
  /**
   * Lets so much time pass: retries and jobs fall due, retention forgets, rows get older. What it moves and what it cannot is told
   * in docs/testing.md. @throws {TestStepImpossible} for what is no span of time, or where a source is a view
   */
  advance(span: Duration): Promise<void>
  /** How far it was turned, in milliseconds. */
  readonly advancedMs: number
}

export function createTestClock(pool: Pool, pollers: readonly ResolvedPoller[]): TestClock {
  let advancedMs = 0
  return {
    get advancedMs() {
      return advancedMs
    },
    async advance(span) {
      const ms = parseDuration(span)
      if (ms === undefined || !(ms > 0))
        throw new TestStepImpossible(`${JSON.stringify(span)} is no span of time such as '30s', '5m' or '7d'`)
      await moveBack(pool, pollers, ms)
      advancedMs += ms
    },
  }
}

async function moveBack(pool: Pool, pollers: readonly ResolvedPoller[], ms: number): Promise<void> {
  const sources = pollers.map(({ source }) => source)
  await withTransaction(pool, async (client) => {
    const { rows } = await client.query<{ name: string; is_table: boolean; columns: string[] }>(sql.columns, [
      ['service_ops', BOSS_SCHEMA],
      sources.map(({ table }) => quoteQualified(table)),
      sources.map(({ createdAt }) => createdAt),
    ])
    await client.query(sql.quiet)
    for (const { name, is_table: isTable, columns } of rows) {
      if (!isTable)
        throw new TestStepImpossible(
          `${name} is no table, so its times cannot be moved: give the test a table`,
        )
      const times = columns.map((column) => fillIdentifiers(sql.time, { column: quoteIdentifier(column) }))
      await client.query(fillIdentifiers(sql.move, { table: name, times: times.join(', ') }), [interval(ms)])
    }
  })
}
