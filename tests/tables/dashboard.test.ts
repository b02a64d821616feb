import assert from 'node:assert/strict'
import { test } from 'node:test'
import { backlogAges } from '../../src/tables/dashboard.ts'
import { createDatabase } from '../support/database.ts'

test('ages are looked for among so many messages, also of a source that nobody processes any more', async (t) => {
  const db = (await createDatabase(t)).pool()
  await db.query(`
    INSERT INTO service_ops.integration_inbox (source, message_id, status, trace_id, processed_at)
    SELECT 'orders', n, 'DONE', '', now() FROM generate_series(1, 5000) n;
    INSERT INTO service_ops.integration_inbox (source, message_id, trace_id) SELECT 'orders', -n, '' FROM generate_series(1, 3) n;
    INSERT INTO service_ops.inbox_low_water (source, low) VALUES ('orders', 5000), ('gone', 0)`)
  const client = await db.connect()
  try {
    await client.query('BEGIN')
    assert.deepEqual(await backlogAges(client, 100), [
      { source: 'orders', status: 'NEW', age: 0, messages: 3 },
    ])
    const { rows } = await client.query<{ seen: string }>(
      `SELECT pg_stat_get_xact_tuples_returned('service_ops.integration_inbox'::regclass)
            + pg_stat_get_xact_tuples_fetched('service_ops.integration_inbox'::regclass) AS seen`,
    )
    assert.ok(Number(rows[0]?.seen) < 1_000, `${rows[0]?.seen} rows were looked at`)
    await client.query('ROLLBACK')
  } finally {
    client.release()
  }
})
