import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Client } from 'pg'
import { createDatabase } from '../support/database.ts'

async function broken(client: Client): Promise<Map<string, string>> {
  const { rows } = await client.query<{ name: string; detail: string }>(
    'SELECT name, detail FROM service_ops.verify() WHERE ok IS NOT TRUE',
  )
  return new Map(rows.map(({ name, detail }) => [name, detail]))
}

test('one_leader_per_term finds two instances that led under one term, by the record of changes or by the ledger', async (t) => {
  const client = await (await createDatabase(t)).client()
  await client.query(`INSERT INTO service_ops.leader_change (task_name, to_instance, term, reason)
    VALUES ('orders', 'one', 1, 'elected'), ('orders', 'two', 2, 'handed_over'), ('calls', 'two', 1, 'elected')`)
  const ran = (instance: string, term: number, outcome: string) =>
    client.query(
      `INSERT INTO service_ops.poll_run (poller, due_at, started_at, outcome, rows_read, rows_inserted, late_rows, term, instance_id)
       VALUES ('orders', now(), now(), $1, 0, 0, 0, $2, $3)`,
      [outcome, term, instance],
    )
  await ran('one', 1, 'ran')
  // Whoever was refused did nothing under that term.
  await ran('three', 2, 'fenced')
  assert.equal((await broken(client)).get('one_leader_per_term'), undefined)
  await ran('three', 2, 'ran')
  assert.match((await broken(client)).get('one_leader_per_term') ?? '', /orders term 2: three, two/)
})

test('no_transaction_outlives_its_instance finds what a stopped or silent instance left open, and nothing of a living one', async (t) => {
  const database = await createDatabase(t)
  const client = await database.client()
  const left = await database.client()
  await left.query("SET application_name = 'tidemark:one-1'")
  const found = async () => (await broken(client)).get('no_transaction_outlives_its_instance')
  // The session cannot be a minute old here, so the invariant's limit is lowered; the rest of the query stays.
  await client.query(
    `UPDATE service_ops.invariant SET query = replace(query, 'a.xact_start < clock_timestamp() - interval ''60 seconds''', 'a.xact_start IS NOT NULL')
      WHERE name = 'no_transaction_outlives_its_instance' AND query LIKE '%a.xact_start < clock_timestamp() - interval ''60 seconds''%'`,
  )
  await client.query(
    `INSERT INTO service_ops.runner_instance (instance_id, holder, release, state) VALUES ('one-1', gen_random_uuid(), 'r', 'ready')`,
  )
  await left.query('BEGIN')
  assert.equal(await found(), undefined, 'it lives')
  await client.query("UPDATE service_ops.runner_instance SET state = 'stopped'")
  assert.match((await found()) ?? '', /pid \d+ of one-1, open since/)
  await client.query(
    "UPDATE service_ops.runner_instance SET state = 'ready', last_seen_at = now() - interval '2 minutes'",
  )
  assert.match((await found()) ?? '', /pid \d+ of one-1/)
  await left.query('ROLLBACK')
  assert.equal(await found(), undefined, 'it is over')
})

test('nothing_unread_is_forgotten finds a bound that is above the edge, or to come', async (t) => {
  const client = await (await createDatabase(t)).client()
  await client.query(`
    INSERT INTO service_ops.background_task (id, task_name, kind, led, config_hash, release) VALUES (1, 'orders', 'poller', true, '', '');
    INSERT INTO service_ops.integration_poll_watermark (id, poller, holder, term, pass, edge)
    VALUES (1, 'orders', gen_random_uuid(), 1, 1, now() - interval '1 hour')`)
  const forgotten = async (before: string): Promise<string | undefined> => {
    await client.query(`UPDATE service_ops.background_task SET forgotten_before = ${before}`)
    return (await broken(client)).get('nothing_unread_is_forgotten')
  }
  assert.equal(await forgotten('NULL'), undefined)
  assert.equal(await forgotten('(SELECT edge FROM service_ops.integration_poll_watermark)'), undefined)
  assert.match((await forgotten(`now() - interval '59 minutes'`)) ?? '', /orders before/)
  await client.query('DELETE FROM service_ops.integration_poll_watermark')
  assert.equal(await forgotten(`now() - interval '59 minutes'`), undefined)
  assert.match((await forgotten(`now() + interval '1 minute'`)) ?? '', /orders before/)
})
