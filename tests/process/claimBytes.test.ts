import assert from 'node:assert/strict'
import { test } from 'node:test'
import { claimMessages } from '../../src/tables/inbox.ts'
import { inbox, INSTANCE, SOURCE } from './fixture.ts'

const MB = 1024 * 1024

test('a claim is bounded by what payloads are in memory, however well they compress, whatever JSON they are', async (t) => {
  const { sql } = await inbox(t)
  await sql.query(
    `INSERT INTO service_ops.integration_inbox (source, message_id, payload, trace_id)
     SELECT $1, n, CASE n WHEN 1 THEN to_jsonb(body) WHEN 2 THEN jsonb_build_array(body) ELSE jsonb_build_object('body', body) END, n
       FROM (SELECT n, repeat('tide mark ', CASE n WHEN 7 THEN 5000000 WHEN 8 THEN 1 ELSE 524288 END) AS body FROM generate_series(1, 8) n) b`,
    [SOURCE],
  )
  const stored = await sql.query<{ bytes: number }>(
    'SELECT sum(pg_column_size(payload))::integer AS bytes FROM service_ops.integration_inbox',
  )
  const onDisk = stored.rows[0]?.bytes ?? 0
  assert.ok(onDisk < 2 * MB, `80 MB take ${onDisk} bytes on disk`)
  const claimed: (string | null)[][] = []
  for (;;) {
    const request = {
      sources: [SOURCE],
      instanceId: INSTANCE,
      limit: 100,
      low: '0',
      maxAttempts: 3,
      maxBytes: 16 * MB,
    }
    const rows = await claimMessages(sql, request)
    if (rows.length === 0) break
    claimed.push(rows.map((row) => row.message_id).sort())
  }
  // 5 MB each, until 16 MB are reached; the one of 50 MB is that by itself.
  assert.deepEqual(claimed, [['1', '2', '3', '4'], ['5', '6', '7'], ['8']])
})
