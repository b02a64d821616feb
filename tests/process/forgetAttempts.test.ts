import assert from 'node:assert/strict'
import { test } from 'node:test'
import { forgetOrphanedAttempts } from '../../src/process/forgetOrphans.ts'
import { forgetFinishedTaken } from '../../src/process/forgetTaken.ts'
import { forgetFinished } from '../../src/process/retention.ts'
import { createDatabase } from '../support/database.ts'

const DAY_MS = 86_400_000

/** Each source has a message that is old, one that is young, and one more; all were done by their second claim. */
const MESSAGES = `
  INSERT INTO service_ops.background_task (id, task_name, kind, led, config_hash, release) VALUES (1, 'orders', 'poller', true, '', '');
  INSERT INTO service_ops.integration_poll_watermark (id, poller, holder, term, pass, edge) VALUES (1, 'orders', gen_random_uuid(), 1, 1, now());
  INSERT INTO service_ops.poll_candidate (poller, cand_ts, cand_vx, cand_boot) VALUES ('orders', now(), '{}', pg_postmaster_start_time());
  INSERT INTO service_ops.integration_inbox (source, message_id, trace_id, status, claim, created_at, source_created_at, processed_at)
  SELECT s, id, 't', 'DONE', 2, now() - days * interval '1 day', CASE s WHEN 'orders' THEN now() - days * interval '1 day' END, now() - days * interval '1 day'
    FROM (VALUES ('old', 9), ('young', 1), ('newest', 0)) m(id, days), unnest('{orders,calls}'::text[]) s ORDER BY days DESC;
  INSERT INTO service_ops.message_attempt (inbox_id, claim, attempt, instance_id, outcome)
  SELECT m.inbox_id, 1, 1, 'one', 'failed' FROM service_ops.integration_inbox m`

test('what was told of a message is forgotten together with it, and of no other', async (t) => {
  const pool = (await createDatabase(t)).pool()
  await pool.query(MESSAGES)
  const { signal } = new AbortController()
  const told = async (): Promise<string[]> => {
    const { rows } = await pool.query<{ id: string }>(
      `SELECT coalesce(m.source || ' ' || m.message_id, 'nobody') AS id
         FROM service_ops.message_attempt a LEFT JOIN service_ops.integration_inbox m USING (inbox_id) ORDER BY 1`,
    )
    return rows.map(({ id }) => id)
  }
  assert.equal((await told()).length, 6)
  assert.equal(
    (await forgetFinished({ db: pool, name: 'orders', retentionMs: 7 * DAY_MS, signal })).forgotten,
    1,
  )
  assert.deepEqual(await told(), [
    'calls newest',
    'calls old',
    'calls young',
    'orders newest',
    'orders young',
  ])
  await forgetFinishedTaken({ db: pool, intake: 'calls', retentionMs: 7 * DAY_MS, signal })
  assert.deepEqual(await told(), ['calls newest', 'calls young', 'orders newest', 'orders young'])
})

test('what a release from before message_attempt left of messages that it forgot is forgotten, slice by slice, and nothing else', async (t) => {
  const pool = (await createDatabase(t)).pool()
  await pool.query(MESSAGES)
  await pool.query(`
    INSERT INTO service_ops.message_attempt (inbox_id, claim, attempt, instance_id, outcome)
    SELECT m.inbox_id, c, c, 'one', 'failed' FROM service_ops.integration_inbox m, generate_series(2, 4) c;
    DELETE FROM service_ops.integration_inbox WHERE message_id IN ('old', 'young')`)
  const lowest = 'SELECT min(inbox_id) AS id FROM service_ops.integration_inbox'
  // One that is DEAD stays for good, below what was forgotten.
  await pool.query(`
    INSERT INTO service_ops.integration_inbox (inbox_id, source, message_id, trace_id, status, next_attempt_at, claim)
    OVERRIDING SYSTEM VALUE VALUES (0, 'orders', 'dead', 't', 'DEAD', 'infinity', 1)`)
  assert.deepEqual((await pool.query(lowest)).rows, [{ id: '0' }])
  await pool.query(
    `INSERT INTO service_ops.message_attempt (inbox_id, claim, attempt, instance_id, outcome) VALUES (0, 1, 1, 'one', 'dead')`,
  )
  const { signal } = new AbortController()
  let slices = 0
  let forgotten = 0
  for (let after: string | undefined = '-1'; after !== undefined; slices += 1) {
    const slice = await forgetOrphanedAttempts({ db: pool, after, signal, sliceMs: 0, batch: 5 })
    forgotten += slice.forgotten
    after = slice.isThrough ? undefined : slice.after
  }
  assert.ok(slices > 3, `${slices} slices`)
  assert.equal(forgotten, 16)
  const { rows } = await pool.query(
    `SELECT m.message_id AS id, count(*)::integer AS n FROM service_ops.message_attempt a LEFT JOIN service_ops.integration_inbox m USING (inbox_id) GROUP BY 1 ORDER BY 1`,
  )
  assert.deepEqual(rows, [
    { id: 'dead', n: 1 },
    { id: 'newest', n: 8 },
  ])
})
