import type { TestContext } from 'node:test'
import type { Client } from 'pg'
import type { Clock } from 'pg-boss'
import { createPool, type Pool } from '../../src/db/pool.ts'
import { createBoss, type Boss } from '../../src/jobs/boss.ts'
import { migrateBoss } from '../../src/jobs/schema.ts'
import { createLog, type Log } from '../../src/telemetry/log.ts'
import { createDatabase } from '../support/database.ts'

export interface Bosses {
  readonly url: string
  /** For the test's own looks. */
  readonly pool: Pool
  /** As the superuser: for what no program does. */
  readonly hands: Client
  /** Lines that the bosses logged. */
  readonly lines: Record<string, unknown>[]
  readonly log: Log
  /** A started boss with a pool of its own, as another instance would have. */
  boss(options?: { clock?: Clock; listen?: boolean }): Promise<Boss & { readonly own: Pool }>
  /** A pool of another process, which ends with the test. */
  newPool(max?: number): Pool
}

/** A database with pg-boss's schema, and bosses on it that end with the test. */
export async function createBosses(t: TestContext): Promise<Bosses> {
  const database = await createDatabase(t)
  const client = await database.client()
  await migrateBoss(client)
  const lines: Record<string, unknown>[] = []
  const log = createLog({
    service: 'test',
    instanceId: 'test',
    level: 'debug',
    sink: { write: (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>) },
  })
  let number = 0
  const newPool = (max = 2): Pool => {
    const pool = createPool({
      url: database.programUrl,
      applicationName: 'tidemark:test',
      connectTimeoutMs: 5_000,
      limits: { statementTimeoutMs: 10_000, lockTimeoutMs: 5_000, idleInTransactionMs: 10_000 },
      max,
    })
    t.after(() => pool.end())
    return pool
  }
  return {
    url: database.url,
    pool: newPool(),
    hands: client,
    lines,
    log,
    newPool,
    async boss({ clock, listen = false } = {}) {
      number += 1
      const own = createPool({
        url: database.programUrl,
        applicationName: `tidemark:test-${number}`,
        connectTimeoutMs: 5_000,
        limits: { statementTimeoutMs: 10_000, lockTimeoutMs: 5_000, idleInTransactionMs: 10_000 },
        max: 5,
      })
      const boss = createBoss({
        pool: own,
        log,
        instanceId: `test-${number}`,
        giveBackLimitMs: 20_000,
        ...(listen ? { session: { url: database.programUrl } } : {}),
        ...(clock === undefined ? {} : { clock }),
      })
      t.after(async () => {
        await boss.stop()
        await own.end()
      })
      await boss.start()
      return Object.assign(boss, { own })
    },
  }
}

export interface JobRow {
  readonly id: string
  readonly state: string
  readonly retry_count: number
  readonly retry_limit: number
  readonly start_after: Date
}

/** The jobs of a queue, oldest first. */
export async function jobsOf(pool: Pool, queue: string): Promise<JobRow[]> {
  const { rows } = await pool.query<JobRow>(
    `SELECT id, state::text AS state, retry_count, retry_limit, start_after FROM pgboss.job WHERE name = $1
     ORDER BY created_on, start_after`,
    [queue],
  )
  return rows
}
