import assert from 'node:assert/strict'
import { test } from 'node:test'
import { missingPage } from '../../src/tables/replay.ts'
import { sweepPage } from '../../src/tables/sweep.ts'
import type { SweepPage } from '../../src/tables/sweep.ts'
import type { Queryable } from '../../src/db/pool.ts'
import { createIntake, POLLER, sourceOf } from '../ingest/fixture.ts'
import { begunSweep, setEdge } from '../ingest/sweeping.ts'

/*
 * Plans of the pages that walk a whole source beside a large inbox that was analyzed or never was. Rows, not
 * times: a page that walks the source from its beginning, or hashes the inbox, handles many times more than it has rows.
 */

const ROWS = 20_000
const UNDATED = 2_000
const PAGE = 500
const ROWS_A_ROW = 20

interface PlanNode {
  readonly 'Actual Rows': number
  readonly 'Actual Loops': number
  readonly 'Rows Removed by Filter'?: number
  readonly 'Rows Removed by Index Recheck'?: number
  readonly Plans?: readonly PlanNode[]
}

for (const [analyzed, where] of [
  [false, null],
  [true, null],
  [true, `id = ${ROWS}`],
] as const) {
  const of = where === null ? 'every row' : 'one row'
  test(`a page over ${of} sees little more than a page, ${analyzed ? 'with' : 'without'} statistics of the inbox`, async (t) => {
    const intake = await createIntake(
      t,
      `CREATE TABLE note (id bigint PRIMARY KEY, created_at timestamptz) WITH (autovacuum_enabled = off);
       CREATE INDEX ON note (created_at, id);
       INSERT INTO note SELECT n, CASE WHEN n > ${UNDATED} THEN now() - interval '2 days' + n * interval '1 s' END FROM generate_series(1, ${ROWS}) n;
       ALTER TABLE service_ops.integration_inbox SET (autovacuum_enabled = off);
       INSERT INTO service_ops.integration_inbox (source, message_id, trace_id) SELECT '${POLLER}', id, id FROM note WHERE id % 100 > 0`,
    )
    await intake.lead()
    await setEdge(intake, 'now()')
    const source = await intake.prepare(sourceOf('note', { where }))
    await intake.pool.query('ANALYZE note')
    if (analyzed) await intake.pool.query('ANALYZE service_ops.integration_inbox')
    const worst = { rows: 0 }
    const db = explaining(intake.pool, (rows) => (worst.rows = Math.max(worst.rows, rows)))

    let turn = await begunSweep(intake.pool, true)
    let pages = 0
    for (;;) {
      const walk = turn.undated ? 'undated' : 'dated'
      const page: SweepPage | undefined = await sweepPage(
        db,
        source.sweep.page[walk],
        POLLER,
        turn.turn,
        PAGE,
        3,
        null,
      )
      assert.ok(page !== undefined)
      pages += 1
      if (!page.more) break
      turn = page
    }
    assert.equal(pages, ROWS / PAGE + 2)
    assert.ok(worst.rows <= PAGE * ROWS_A_ROW, `a page of ${PAGE} handled ${worst.rows} rows`)

    worst.rows = 0
    const range = { from: '-infinity', to: 'infinity' }
    let at = { scanTs: null as string | null, scanId: null as string | null }
    for (;;) {
      const page = await missingPage(db, source.replay.missing, POLLER, range, at, PAGE)
      assert.ok(page !== undefined)
      if (!page.more) break
      at = page
    }
    assert.ok(worst.rows <= PAGE * ROWS_A_ROW, `a page of a dry run handled ${worst.rows} rows`)
  })
}

/** Explains every statement in a transaction that is rolled back, then runs it. */
function explaining(
  pool: Awaited<ReturnType<typeof createIntake>>['pool'],
  saw: (rows: number) => void,
): Queryable {
  return {
    async query(text, values = []) {
      const client = await pool.connect()
      try {
        await client.query('BEGIN')
        const { rows } = await client.query<{ 'QUERY PLAN': [{ Plan: PlanNode }] }>(
          `EXPLAIN (ANALYZE, FORMAT JSON) ${text}`,
          [...values],
        )
        await client.query('ROLLBACK')
        const plan = rows[0]?.['QUERY PLAN'][0].Plan
        assert.ok(plan !== undefined)
        saw(rowsHandled(plan))
      } finally {
        client.release()
      }
      return pool.query(text, [...values])
    },
  }
}

function rowsHandled(node: PlanNode): number {
  const each =
    node['Actual Rows'] + (node['Rows Removed by Filter'] ?? 0) + (node['Rows Removed by Index Recheck'] ?? 0)
  return (node.Plans ?? []).reduce((sum, child) => sum + rowsHandled(child), each * node['Actual Loops'])
}
