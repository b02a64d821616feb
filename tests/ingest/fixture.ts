import { randomUUID } from 'node:crypto'
import type { Pool } from 'pg'
import type { ResolvedSource } from '../../src/config/resolved.ts'
import { runPass } from '../../src/ingest/pass.ts'
import type { PassOptions, PassResult } from '../../src/ingest/pass.ts'
import { prepareSource } from '../../src/ingest/sourceSql.ts'
import type { PreparedSource } from '../../src/ingest/sourceSql.ts'
import { takeOver } from '../../src/tables/leader.ts'
import { describeSource } from '../../src/tables/source.ts'
import type { PassFence } from '../../src/tables/watermark.ts'
import { createDatabase } from '../support/database.ts'
import type { Scope } from '../support/scope.ts'

export const POLLER = 'intake'
const LEASE_MS = 3_600_000

/** What a config says of a source, with the defaults filled in. */
export function sourceOf(table: string, options: Partial<ResolvedSource> = {}): ResolvedSource {
  const whole = { payload: null, groupKey: null, traceId: null, where: null, timeZone: null, latenessMs: 0 }
  return { table, id: 'id', createdAt: 'created_at', ...whole, ...options }
}

export interface InboxRow {
  readonly message_id: string
  readonly status: string
  readonly payload: unknown
  readonly group_key: string | null
  readonly trace_id: string
  readonly traceparent: string | null
  readonly last_error: string | null
  /** As text, since a Date would lose the microseconds. */
  readonly source_created_at: string
}

/** A database with one table of somebody else's, and a poller that leads. */
export interface Intake {
  /** The test's own hands. */
  readonly pool: Pool
  /** The program's. */
  readonly program: Pool
  readonly refused: string[]
  readonly remade: string[]
  prepare(source: ResolvedSource): Promise<PreparedSource>
  /** Takes the lead, also from whoever has it. */
  lead(): Promise<PassFence>
  pass(
    source: PreparedSource,
    fence: PassFence,
    options?: Partial<PassOptions>,
  ): Promise<PassResult & { fence: PassFence }>
  inbox(): Promise<InboxRow[]>
}

export async function createIntake(scope: Scope, ddl: string): Promise<Intake> {
  const database = await createDatabase(scope)
  const [pool, program] = [database.pool(), database.programPool()]
  await pool.query(`INSERT INTO service_ops.background_task (id, task_name, kind, led, config_hash, release)
                    VALUES (1, '${POLLER}', 'poller', true, 'test', 'test')`)
  await pool.query(ddl)
  const refused: string[] = []
  const remade: string[] = []
  return {
    pool,
    program,
    refused,
    remade,
    async prepare(source) {
      return prepareSource(source, await describeSource(program, source.table))
    },
    async lead() {
      const me = { holder: randomUUID(), instanceId: 'test' }
      const { rows } = await pool.query<{ holder: string; term: string }>(
        'SELECT holder, term FROM service_ops.background_task_leader',
      )
      const won = await takeOver(program, POLLER, me, LEASE_MS, rows[0])
      if (won?.pass == null) throw new Error('the takeover failed')
      return { poller: POLLER, holder: me.holder, term: won.term, pass: won.pass }
    },
    async pass(source, fence, options = {}) {
      let pass = fence.pass
      const result = await runPass({
        db: program,
        source,
        fence,
        slackMs: 0,
        sinceMs: 0,
        pageSize: 10,
        maxAttempts: 3,
        signal: new AbortController().signal,
        onBegun: (begun) => (pass = begun),
        onInserted: () => undefined,
        onRefusedRow: (reason) => refused.push(reason),
        onRemade: (edge) => remade.push(edge),
        onClockStepped: () => undefined,
        ...options,
      })
      return { ...result, fence: { ...fence, pass } }
    },
    async inbox() {
      const { rows } = await pool.query<InboxRow>(
        `SELECT message_id, status, payload, group_key, trace_id, traceparent, last_error,
                to_char(source_created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') AS source_created_at
           FROM service_ops.integration_inbox ORDER BY inbox_id`,
      )
      return rows
    },
  }
}
