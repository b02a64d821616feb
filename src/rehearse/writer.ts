/**
 * The writer: somebody else's app, which goes on through every deploy. It does what makes polling hard: most transactions
 * commit at once, some seconds later, after others that began later; some roll back, some do so to a savepoint. Each row
 * is noted in its own transaction, so that what is noted is exactly what was committed.
 */
import type { Pool, PoolClient } from '../db/pool.ts'
import { withClient } from '../db/transaction.ts'
import { pause } from '../kit/pause.ts'
import type { Chance } from './chance.ts'
import type { RowWriter } from './rows.ts'

/** One transaction in this many. */
const LATE_ONE_IN = 10
const ROLLED_BACK_ONE_IN = 20
const SAVEPOINT_ONE_IN = 10

const LATE_MOST_MS = 3_000

/** Of the writer's connections, so many may wait to commit: the others keep up the rate. */
export const WRITER_CONNECTIONS = 8
const LATE_AT_ONCE = 4

/** Rows of one transaction at most. */
const BATCH_MOST = 20
const TICK_MS = 20

/** A source that takes no row any more: no rehearsal can go on. */
const ERRORS_IN_A_ROW_MOST = 50

export interface Writer {
  /** Rows committed so far. */
  readonly written: number
  readonly rolledBack: number
  readonly late: number
  /** Transactions that failed against the writer's will. */
  readonly failed: number
  /** Rejects when nothing can be written any more. */
  readonly broken: Promise<never>
  /** Commits what is open and ends. */
  stop(): Promise<void>
}

export function startWriter(pool: Pool, rows: readonly RowWriter[], rate: number, chance: Chance): Writer {
  const stopping = new AbortController()
  const open = new Set<Promise<void>>()
  const broken = Promise.withResolvers<never>()
  // Nobody may be waiting for it at that moment.
  broken.promise.catch(() => undefined)
  const count = { written: 0, rolledBack: 0, late: 0, failed: 0, lateNow: 0, errorsInARow: 0 }

  async function transaction(row: RowWriter, size: number): Promise<void> {
    const late = chance.oneIn(LATE_ONE_IN) && count.lateNow < LATE_AT_ONCE
    const rollBack = chance.oneIn(ROLLED_BACK_ONE_IN)
    if (late) count.lateNow += 1
    try {
      await withClient(pool, async (client) => {
        await client.query('BEGIN')
        if (chance.oneIn(SAVEPOINT_ONE_IN)) await undone(client, row)
        await row.write(client, size)
        if (late) await pause(chance.fraction() * LATE_MOST_MS, stopping.signal)
        await client.query(rollBack ? 'ROLLBACK' : 'COMMIT')
      })
      if (rollBack) count.rolledBack += size
      else count.written += size
      if (late && !rollBack) count.late += size
      count.errorsInARow = 0
    } catch (error) {
      count.failed += 1
      count.errorsInARow += 1
      if (count.errorsInARow > ERRORS_IN_A_ROW_MOST) broken.reject(error)
    } finally {
      if (late) count.lateNow -= 1
    }
  }

  async function undone(client: PoolClient, row: RowWriter): Promise<void> {
    await client.query('SAVEPOINT undone')
    await row.write(client, 1)
    await client.query('ROLLBACK TO undone')
  }

  async function run(): Promise<void> {
    let owed = 0
    let turn = 0
    let since = performance.now()
    while (!stopping.signal.aborted) {
      const now = performance.now()
      owed += ((now - since) * rate) / 1000
      since = now
      while (owed >= 1 && open.size < WRITER_CONNECTIONS) {
        const size = Math.min(Math.floor(owed), 1 + chance.below(BATCH_MOST))
        const row = rows[(turn += 1) % rows.length]
        if (row === undefined) return
        owed -= size
        const one = transaction(row, size)
        open.add(one)
        void one.finally(() => open.delete(one))
      }
      await pause(TICK_MS, stopping.signal)
    }
  }

  const running = run()
  return {
    get written() {
      return count.written
    },
    get rolledBack() {
      return count.rolledBack
    },
    get late() {
      return count.late
    },
    get failed() {
      return count.failed
    },
    broken: broken.promise,
    async stop() {
      stopping.abort()
      await running
      await Promise.all(open)
    },
  }
}
