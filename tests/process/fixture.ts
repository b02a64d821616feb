import type { ResolvedProcessor } from '../../src/config/resolved.ts'
import { createPool } from '../../src/db/pool.ts'
import type { Pool } from '../../src/db/pool.ts'
import { watchPressure } from '../../src/db/pressure.ts'
import type { RunnableWork } from '../../src/process/calls.ts'
import { createProcessor } from '../../src/process/processor.ts'
import type { Processor } from '../../src/process/processor.ts'
import { Quarantine } from '../../src/process/quarantine.ts'
import { recordedLog } from '../db/recordedLog.ts'
import type { RecordedLog } from '../db/recordedLog.ts'
import { createDatabase } from '../support/database.ts'
import { programPoolWay } from '../support/programWay.ts'
import type { Scope } from '../support/scope.ts'
import { until } from '../support/until.ts'
import type { Log } from '../../src/telemetry/log.ts'

export const SOURCE = 'letters'
export const INSTANCE = 'this-instance'

/** What became of a message: `DONE 1` is its status and its attempts; ` +2` says that it was interrupted twice. */
export type Fate = string

/** A database with an inbox, and processors on it without a runner. */
export async function inbox(scope: Scope) {
  const database = await createDatabase(scope)
  const own = database.pool()
  await own.query('CREATE TABLE effect (message_id text)')

  const fates = async (): Promise<Record<string, Fate>> => {
    const { rows } = await own.query<{ id: string; fate: string }>(
      `SELECT message_id AS id, status || ' ' || attempts || CASE WHEN interruptions > 0 THEN ' +' || interruptions ELSE '' END AS fate
         FROM service_ops.integration_inbox ORDER BY inbox_id`,
    )
    return Object.fromEntries(rows.map(({ id, fate }) => [id, fate]))
  }
  return {
    database,
    url: database.programUrl,
    /** Connections of the test's own. */
    sql: own,
    send: async (...messageIds: readonly string[]): Promise<void> => {
      await own.query(
        `INSERT INTO service_ops.integration_inbox (source, message_id, payload, trace_id) SELECT $1, u, '{}', u FROM unnest($2::text[]) u`,
        [SOURCE, messageIds],
      )
    },
    fates,
    /** Waits until the messages have these fates. */
    become: async (expected: Record<string, Fate>): Promise<void> => {
      let seen: Record<string, Fate> = {}
      const same = async (): Promise<boolean> => {
        seen = await fates()
        return Object.entries(expected).every(([id, fate]) => seen[id] === fate)
      }
      await until('the messages', same).catch((error: unknown) => {
        throw new Error(`expected ${JSON.stringify(expected)}, found ${JSON.stringify(seen)}`, {
          cause: error,
        })
      })
    },
    effects: async (): Promise<string[]> => {
      const { rows } = await own.query<{ message_id: string }>('SELECT message_id FROM effect ORDER BY 1')
      return rows.map(({ message_id }) => message_id)
    },
    lastErrors: async (): Promise<Record<string, string | null>> => {
      const { rows } = await own.query<{ id: string; last_error: string | null }>(
        'SELECT message_id AS id, last_error FROM service_ops.integration_inbox',
      )
      return Object.fromEntries(rows.map((row) => [row.id, row.last_error]))
    },
  }
}

/** What runs on a pool: stopped before the pool waits for what is lent out, since hooks run in order of registration. */
const running = new WeakMap<Pool, (() => Promise<void>)[]>()

/** The program's own pool; closed before the database is dropped. */
export function programPool(scope: Scope, url: string, statementTimeoutMs = 10_000): Pool {
  const pool = createPool({
    ...programPoolWay(url),
    applicationName: `tidemark:${INSTANCE}`,
    connectTimeoutMs: 5_000,
    limits: { statementTimeoutMs, lockTimeoutMs: 5_000, idleInTransactionMs: 10_000 },
    max: 10,
  })
  closeAtEnd(scope, pool)
  return pool
}

/** Closes the pool after what runs on it. */
export function closeAtEnd(scope: Scope, pool: Pool): void {
  const stops: (() => Promise<void>)[] = []
  running.set(pool, stops)
  scope.after(async () => {
    await Promise.all(stops.map((stop) => stop()))
    await pool.end()
  })
}

/** Stops what runs on a pool, before the pool is closed. */
export function stopBefore(scope: Scope, pool: Pool, stop: () => Promise<void>): void {
  const before = running.get(pool)
  if (before === undefined) scope.after(stop)
  else before.push(stop)
}

export type Work = RunnableWork

/** What a test says of a processor; the rest are values that let tests end soon. */
export type Choices = Partial<Omit<ResolvedProcessor, 'work'>>

export interface RunningProcessor extends Processor {
  readonly log: RecordedLog
}

/** A whole log that keeps what it is told. */
export function recordingLog(): { log: Log; recorded: RecordedLog } {
  const recorded = recordedLog()
  const log: Log = { event: recorded.event, child: () => log, close: () => Promise.resolve() }
  return { log, recorded }
}

/** A processor that has not begun to claim; whatever it has in work at the end of the test is given back. */
export function processorOn(
  scope: Scope,
  pool: Pool,
  work: Work,
  choices: Choices = {},
  instanceId = INSTANCE,
  quarantine = new Quarantine(),
  paused?: () => boolean,
): RunningProcessor {
  const { log, recorded } = recordingLog()
  const pressure = watchPressure(pool, log)
  const processor = createProcessor({
    pool,
    instanceId,
    pressure,
    quarantine,
    ...(paused && { paused }),
    log,
    processor: {
      name: 'reader',
      from: [SOURCE],
      concurrency: 4,
      maxAttempts: 3,
      backoff: { baseMs: 20, maxMs: 40 },
      timeoutMs: 30_000,
      exclusive: false,
      slots: null,
      ordered: false,
      work,
      ...choices,
    },
  })
  const stop = async (): Promise<void> => {
    await processor.drain(0)
    await processor.stop()
    pressure.stop()
  }
  stopBefore(scope, pool, stop)
  // The processor's own properties are accessors, which a spread would freeze at their present values.
  return Object.assign(Object.create(processor) as Processor, { log: recorded })
}

export const hang = (): Promise<never> => new Promise(() => undefined)
