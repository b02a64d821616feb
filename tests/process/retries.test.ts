import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bringRetriesForward } from '../../src/process/retries.ts'
import { createDatabase } from '../support/database.ts'
import { recordingLog } from './fixture.ts'

test('what waits by a clock that stepped back waits as long as it was to, by the present one; nothing else is touched', async (t) => {
  const pool = (await createDatabase(t)).pool()
  await pool.query(`
    INSERT INTO service_ops.background_task (id, task_name, kind, led, config_hash, release) VALUES (1, 'letters', 'poller', true, '', '');
    INSERT INTO service_ops.integration_inbox (source, message_id, payload, trace_id, status, next_attempt_at, updated_at) VALUES
      ('letters', 'ahead', '{}', 'a', 'FAILED', now() + interval '1 hour 20 seconds', now() + interval '1 hour'),
      ('letters', 'given back', '{}', 'a', 'NEW', now() + interval '1 hour', now() + interval '1 hour'),
      ('letters', 'long on purpose', '{}', 'a', 'FAILED', now() + interval '5 minutes', now()),
      ('letters', 'at work', '{}', 'a', 'PROCESSING', now() + interval '1 hour', now() + interval '1 hour'),
      ('letters', 'given up', '{}', 'a', 'DEAD', 'infinity', now() + interval '1 hour')`)
  const waits = async (): Promise<Record<string, number>> => {
    const { rows } = await pool.query<{ message_id: string; s: string }>(
      `SELECT message_id, extract(epoch FROM next_attempt_at) - extract(epoch FROM clock_timestamp()) AS s FROM service_ops.integration_inbox`,
    )
    return Object.fromEntries(rows.map((row) => [row.message_id, Number(row.s)]))
  }
  const before = await waits()
  const { log, recorded } = recordingLog()
  await bringRetriesForward(pool, log)
  const after = await waits()
  assert.ok((after['ahead'] ?? 0) > 0 && (after['ahead'] ?? 99) <= 20, String(after['ahead']))
  assert.ok((after['given back'] ?? 99) <= 0, String(after['given back']))
  for (const name of ['long on purpose', 'at work', 'given up'])
    assert.ok((after[name] ?? 0) > 200 && (after[name] ?? 0) <= (before[name] ?? 0), name)
  assert.deepEqual(
    recorded.of('clock_stepped').map((fields) => fields.messages),
    [2],
  )
  await bringRetriesForward(pool, log)
  assert.equal(recorded.of('clock_stepped').length, 1, 'once')
})
