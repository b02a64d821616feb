import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { readStatus } from '../../src/tables/status.ts'
import { createDatabase } from '../support/database.ts'

/** A message that is lined up for five minutes behind one that failed and has a while to wait, and nothing in work. */
async function behindOneThatFailed(t: TestContext) {
  const db = (await createDatabase(t)).pool()
  await db.query(`
    INSERT INTO service_ops.background_task (id, task_name, kind, led, sources, config_hash, release)
    VALUES (1, 'ledger', 'processor', false, '{bookings}', '', '');
    INSERT INTO service_ops.slot_limit (source, group_key) VALUES ('bookings', '*'), ('bookings', 'a');
    INSERT INTO service_ops.integration_inbox (source, message_id, group_key, status, next_attempt_at, trace_id)
    VALUES ('bookings', '1', 'a', 'FAILED', now() + interval '5 minutes', ''), ('bookings', '2', 'a', 'NEW', now() - interval '5 minutes', '')`)
  return { db, waited: async () => (await readStatus(db)).processors[0]?.waited_seconds }
}

test('a message that is due waits since then', async (t) => {
  const { waited } = await behindOneThatFailed(t)
  assert.ok(Math.abs(((await waited()) ?? 0) - 300) < 30)
})

test('in order, a message does not wait for want of anybody while one that failed has its key', async (t) => {
  const { db, waited } = await behindOneThatFailed(t)
  await db.query(`UPDATE service_ops.slot_limit SET ordered = true WHERE group_key = '*'`)
  assert.equal(await waited(), null)
  await db.query(
    `UPDATE service_ops.integration_inbox SET next_attempt_at = now() - interval '1 minute' WHERE status = 'FAILED'`,
  )
  assert.ok(Math.abs(((await waited()) ?? 0) - 300) < 30, 'its time has come, and nobody takes it')
})

test('what an operator holds does not wait, be it one key or all of them', async (t) => {
  const { db, waited } = await behindOneThatFailed(t)
  await db.query(`UPDATE service_ops.slot_limit SET paused = true WHERE group_key = 'a'`)
  assert.equal(await waited(), null)
  await db.query(`UPDATE service_ops.slot_limit SET paused = group_key = '*'`)
  assert.equal(await waited(), null)
})
