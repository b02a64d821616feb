import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createIntake, POLLER, sourceOf } from './fixture.ts'

/*
 * Pages of every way, on tables whose statistics say nothing or the wrong thing: none walks through the inbox, and of the
 * source each reads a range of the index.
 */

const ROWS = 20_000

for (const mode of ['force_custom_plan', 'force_generic_plan'] as const) {
  for (const statistics of ['none', 'of empty tables', 'of full tables'] as const) {
    test(`no page walks through inbox or source; ${mode}, statistics: ${statistics}`, async (t) => {
      const intake = await createIntake(
        t,
        `CREATE TABLE note (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, created_at timestamptz DEFAULT now(), body jsonb);
         CREATE INDEX ON note (created_at, id);
         ALTER TABLE note SET (autovacuum_enabled = off);
         ALTER TABLE service_ops.integration_inbox SET (autovacuum_enabled = off)`,
      )
      const { pool } = intake
      if (statistics === 'of empty tables') await pool.query('ANALYZE note, service_ops.integration_inbox')
      await pool.query(
        `INSERT INTO note (created_at, body) SELECT now() - n * interval '1 ms', to_jsonb(md5(n::text)) FROM generate_series(1, ${ROWS}) n`,
      )
      await pool.query(
        `INSERT INTO service_ops.integration_inbox (source, message_id, trace_id) SELECT '${POLLER}', n, n FROM generate_series(1, ${ROWS}) n`,
      )
      if (statistics === 'of full tables') await pool.query('ANALYZE note, service_ops.integration_inbox')
      const { page, skim, ahead } = await intake.prepare(sourceOf('note', { payload: 'body' }))
      const { holder, term, pass } = await intake.lead()
      const client = await pool.connect()
      t.after(() => client.release(true))
      await client.query(`SET plan_cache_mode = ${mode}`)
      for (const [way, { text }] of Object.entries({ page, skim, ahead: ahead(500) })) {
        const values = [
          POLLER,
          holder,
          term,
          pass,
          '500',
          '10',
          null,
          null,
          ...(way === 'skim' ? ['4000'] : []),
        ]
        const given = values.map((value) => (value === null ? 'NULL' : `'${value}'`)).join(', ')
        await client.query(`PREPARE ${way} AS ${text}`)
        const { rows } = await client.query<{ 'QUERY PLAN': unknown }>(
          `EXPLAIN (FORMAT JSON) EXECUTE ${way} (${given})`,
        )
        const plan = JSON.stringify(rows[0]?.['QUERY PLAN'])
        const walks = /"Seq Scan"[^}]*"Relation Name":"(?:note|integration_inbox)"/.exec(plan)
        assert.equal(walks, null, `${way}: ${walks?.[0] ?? ''}`)
      }
    })
  }
}
