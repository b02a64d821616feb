import assert from 'node:assert/strict'
import test from 'node:test'
import type { Client } from 'pg'
import type { Queryable } from '../../src/db/pool.ts'
import {
  claimMessages,
  giveBack,
  hasWork,
  inWorkElsewhere,
  reclaim,
  stillOurs,
  writeDone,
  writeFailed,
} from '../../src/tables/inbox.ts'
import { lookBack } from '../../src/tables/lowWater.ts'
import { createDatabase } from '../support/database.ts'
import { explaining } from './explaining.ts'

/*
 * Plans of the statements that run for every message, on an inbox whose statistics say nothing or the wrong thing. Times
 * say nothing on a shared machine; rows do: a plan that walks the table, or compares all pairs, handles many times more
 * rows than there are messages at hand.
 */

const FINISHED = 20_000
const DEAD = 5_000
const FRESH = 4_000
const CLAIM = 1_250
/** Enough for the plan that compared all pairs of outcomes and messages, 1,000,000 of them. */
const DONE = 1_000
const REST = 100

/** A dozen plan nodes see each message once; a walk over what is finished sees hundreds of times as many rows. */
const ROWS_A_MESSAGE = 20

for (const statistics of ['none', 'of an empty inbox', 'of a full inbox'] as const) {
  test(`statements see little more than their own messages; statistics: ${statistics}`, async (t) => {
    const database = await createDatabase(t)
    const client = await database.client()
    await client.query('ALTER TABLE service_ops.integration_inbox SET (autovacuum_enabled = off)')
    if (statistics === 'of an empty inbox') await client.query('ANALYZE service_ops.integration_inbox')
    const low = await fill(client)
    if (statistics === 'of a full inbox') await client.query('ANALYZE service_ops.integration_inbox')
    const tooMany: string[] = []
    const explained = (what: string, messages: number): Queryable =>
      explaining(client, (rows) => {
        if (rows > messages * ROWS_A_MESSAGE) tooMany.push(`${what}: ${rows} rows for ${messages} messages`)
      })

    const sources = ['bench']
    const request = { sources, instanceId: 'me', limit: CLAIM, low, maxAttempts: 10, maxBytes: 2 ** 24 }
    const rows = await claimMessages(explained('claim', CLAIM), request)
    assert.equal(rows.length, CLAIM)
    const claims = rows.map((row) => ({ inboxId: row.inbox_id, claim: row.claim, waitMs: 0 }))
    const failures = claims.splice(0, REST).map((claim) => ({ ...claim, error: 'x', waitMs: 60_000 }))
    const done = claims.splice(0, DONE)
    assert.equal((await writeFailed(explained('failed', REST), 'me', failures)).size, REST)
    const back = claims.splice(0, REST).map((claim) => ({ ...claim, counts: true }))
    assert.equal((await giveBack(explained('give back', REST), 'me', back)).size, REST)
    assert.equal((await stillOurs(explained('still ours', DONE), done)).size, DONE)
    // The look passes over what has just failed and what was given back; what the others find is what was claimed first.
    const look = await lookBack(explained('look back', 2 * REST), sources, low)
    assert.equal(look.first_open, done[0]?.inboxId)
    assert.equal(await inWorkElsewhere(explained('in work elsewhere', REST), sources, 'another', low), true)
    assert.equal(await hasWork(explained('has work', REST), 'me'), true)
    assert.equal((await writeDone(explained('done', DONE), 'me', done)).size, DONE)
    assert.equal((await reclaim(explained('reclaim', CLAIM), 'me', REST, false)).length, claims.length)
    assert.deepEqual(tooMany, [])
  })
}

test('a claim of several sources takes what waits source by source, and does not sort all of it', async (t) => {
  const client = await (await createDatabase(t)).client()
  await client.query('ALTER TABLE service_ops.integration_inbox SET (autovacuum_enabled = off)')
  const sources = ['first', 'second', 'third']
  await client.query(
    `INSERT INTO service_ops.integration_inbox (source, message_id, trace_id, payload, status, attempts, next_attempt_at)
     SELECT s, n, n, '{}', 'FAILED', 1, now() - n * interval '1 s' FROM unnest($1::text[]) s, generate_series(1, $2::integer) n`,
    [sources, FRESH],
  )
  await client.query('ANALYZE service_ops.integration_inbox')
  let handled = 0
  const db = explaining(client, (rows) => (handled = rows))
  const request = { sources, instanceId: 'me', limit: REST, low: '0', maxAttempts: 10, maxBytes: 2 ** 24 }
  const claimed = await claimMessages(db, request)
  assert.equal(claimed.length, REST)
  assert.ok(handled <= REST * ROWS_A_MESSAGE, `${handled} rows for ${REST} messages`)
})

/** Finished and dead messages, then fresh ones; returns the low-water mark between them. */
async function fill(client: Client): Promise<string> {
  const insert = `
    INSERT INTO service_ops.integration_inbox (source, message_id, trace_id, payload, status, processed_at, next_attempt_at)
    SELECT 'bench', $1::text || n, md5(n::text), '{"a": 1}', $1::text, CASE WHEN $1 = 'DONE' THEN now() END,
           CASE WHEN $1 = 'DEAD' THEN timestamptz 'infinity' END
      FROM generate_series(1, $2::integer) n`
  await client.query(insert, ['DONE', FINISHED])
  await client.query(insert, ['DEAD', DEAD])
  const { rows } = await client.query<{ low: string }>(
    'SELECT max(inbox_id) AS low FROM service_ops.integration_inbox',
  )
  const low = rows[0]?.low ?? '0'
  await client.query(insert, ['NEW', FRESH])
  await client.query(
    `INSERT INTO service_ops.background_task (id, task_name, kind, led, config_hash, release, sources)
     VALUES (1, 'bench', 'processor', false, '', '', '{bench}')`,
  )
  await client.query(
    `INSERT INTO service_ops.runner_instance (instance_id, holder, release, state, tasks)
     VALUES ('me', gen_random_uuid(), '', 'ready', '{bench}')`,
  )
  await client.query(`INSERT INTO service_ops.inbox_low_water (source, low) VALUES ('bench', $1)`, [low])
  return low
}
