import { resolve } from 'node:path'
import type { Habits } from './writers.ts'

/** What stands on the stage: Tidemark, or a baseline that is there for comparison only. */
export interface Program {
  readonly name: ProgramName
  readonly title: string
  /** Undefined: `tidemark start` of this checkout. */
  readonly bin?: string
  /** Tables of its own. */
  readonly tables?: string
  /** `$1` a task: whose `instance_id` leads it. */
  readonly leader: string
  /** How many rows can still come to their end. */
  readonly open: string
  /** The longest time without work while there was load: ms and detail. */
  readonly silence: string
  /** It may take so long until anything moves. */
  readonly patienceMs: number
  /** Without progress for so long, what is open stays open: it counts as lost. */
  readonly stuckMs: number
  /** Names of the invariants that can be asked of it; undefined: all. */
  readonly invariants?: readonly string[]
  readonly habits?: Habits
  /** Its settings, each with where it is recommended, or why it is so. */
  readonly settings: readonly string[]
}

export type ProgramName = 'tidemark' | 'naive' | 'stock_queue'

const BASELINES = resolve(import.meta.dirname, 'baselines')

/** What handlers did is all that can be asked of a program that has no inbox, no edge and no claims. */
const EFFECTS_ONLY = [
  'no_effect_is_missing',
  'no_effect_is_doubled',
  'no_external_handler_ran_again',
] as const

/** Rows behind a cursor are what a baseline has skipped, or has taken. */
const ahead = (cursors: string): string =>
  `SELECT count(*) AS n FROM source_row s JOIN ${cursors} c ON c.poller = s.source WHERE (s.at, s.message_id::bigint) > (c.at, c.id)`

const cursors = (table: string): string => `
  CREATE TABLE ${table} (poller text PRIMARY KEY, at timestamptz NOT NULL, id bigint NOT NULL);
  INSERT INTO ${table} SELECT unnest(ARRAY['orders', 'calls', 'tally']), '-infinity', 0;`

/** The greatest gap between two passes of a poller, and between whose. */
const BETWEEN_PASSES = `SELECT extract(epoch FROM started_at - before_at) * 1000 AS ms,
       format('%s at %s, from a pass of %s (term %s) to one of %s (term %s)', poller, started_at, before_by, before_term, instance_id, term) AS detail
  FROM (SELECT *, lag(started_at) OVER w AS before_at, lag(instance_id) OVER w AS before_by, lag(term) OVER w AS before_term
          FROM service_ops.poll_run WHERE outcome IN ('ran', 'late', 'backstop') WINDOW w AS (PARTITION BY poller ORDER BY run_id)) r
 WHERE before_at IS NOT NULL ORDER BY 1 DESC LIMIT 1`

const BETWEEN_EFFECTS = `SELECT extract(epoch FROM at - before_at) * 1000 AS ms, 'no effect before ' || at AS detail
  FROM (SELECT at, lag(at) OVER (ORDER BY at) AS before_at FROM effect) g WHERE before_at IS NOT NULL ORDER BY 1 DESC LIMIT 1`

export const PROGRAMS: Readonly<Record<ProgramName, Program>> = {
  tidemark: {
    name: 'tidemark',
    title: 'Tidemark',
    leader:
      'SELECT instance_id FROM service_ops.background_task_leader WHERE task_name = $1 AND expires_at > clock_timestamp()',
    open: `SELECT count(*) AS n FROM source_row s LEFT JOIN service_ops.integration_inbox i USING (source, message_id)
            WHERE i.status IS NULL AND NOT s.forgotten OR i.status IN ('NEW', 'PROCESSING', 'FAILED')`,
    silence: BETWEEN_PASSES,
    patienceMs: 60_000,
    stuckMs: 45_000,
    settings: [],
  },
  naive: {
    name: 'naive',
    title: 'A naive (created_at, id) poller',
    bin: resolve(BASELINES, 'naive.ts'),
    tables: cursors('naive_cursor'),
    leader: `SELECT a.application_name AS instance_id FROM pg_locks l JOIN pg_stat_activity a USING (pid)
              WHERE l.locktype = 'advisory' AND l.granted AND a.application_name LIKE 'naive:%' AND a.datname = current_database()
                AND $1::text IS NOT NULL`,
    open: ahead('naive_cursor'),
    silence: BETWEEN_EFFECTS,
    patienceMs: 60_000,
    stuckMs: 20_000,
    invariants: EFFECTS_ONLY,
    settings: [
      'every second: rows with (created_at, id) > the cursor, ordered by both, 500 a page; the cursor is text, so that it keeps its microseconds',
      'leader: a session advisory lock on a connection of its own, tried every second, looked at before each row',
      'a transaction a row; 20 attempts, 100 ms apart; then it is logged and left',
      'the cursor is saved after each page, and on SIGTERM, which lets the row at hand end',
    ],
  },
  stock_queue: {
    name: 'stock_queue',
    title: 'Stock pg-boss: cron and work',
    bin: resolve(BASELINES, 'stockQueue.ts'),
    tables: cursors('stock_cursor'),
    leader: `SELECT application_name AS instance_id FROM pg_stat_activity WHERE application_name LIKE 'stock:%'
               AND datname = current_database() AND $1::text IS NOT NULL ORDER BY backend_start LIMIT 1`,
    open: `SELECT (${ahead('stock_cursor')})
                + (SELECT count(*) FROM pgboss.job WHERE name IN ('orders', 'calls', 'tally') AND state < 'completed') AS n`,
    silence: BETWEEN_EFFECTS,
    // A tick a minute, seen up to 30 s late; a dead worker's job comes back after 30 s without heartbeat and up to 60 s
    // until the monitor looks.
    patienceMs: 200_000,
    stuckMs: 180_000,
    invariants: EFFECTS_ONLY,
    // What a worker fetches with two looks a second, three processes and four workers each, with room to spare.
    habits: { rate: 30 },
    settings: [
      'cron `* * * * *`: five places, the finest that its documentation allows (api/scheduling); `missed: once`, so that a tick that nobody saw is made up for',
      'queue `poll` with policy `exclusive`, so that no two polls overlap (api/queues)',
      '`transactional: true` where the effect is in the database: it commits with the job’s completion (api/workers)',
      'jobs are inserted by the transaction that moves the cursor (`db`, api/jobs), each with an id made of its row',
      '`heartbeatSeconds: 30`, as recommended for quick tasks; `expireInSeconds` 900, the default (api/queues)',
      '`retryLimit: 20`, `retryDelay: 1`, `retryBackoff`, `retryDelayMax: 5`: as many attempts as Tidemark makes here',
      '`pollingIntervalSeconds: 0.5`, its least; `localConcurrency: 4`; `batchSize: 1`, so that a failure takes nothing with it (api/workers)',
      'SIGTERM: `boss.stop()`, graceful, 30 s, the defaults (api/ops)',
    ],
  },
}
