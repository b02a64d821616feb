import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { migrateBoss } from '../../src/jobs/schema.ts'
import { readTrace, tracesOf } from '../../src/tables/trace.ts'
import type { StoryLine } from '../../src/tables/trace.ts'
import { createDatabase } from '../support/database.ts'
import { plainRole } from '../support/plainRole.ts'
import type { Scope } from '../support/scope.ts'

/** Times of the story: so many seconds after it began. */
const at = (seconds: number): string =>
  `timestamptz '2026-03-04 05:06:07Z' + ${seconds} * interval '1 second'`

/** A poller's message that failed, was interrupted and given up by instances one to three, put back by Ana, and then done. */
const STORY = `
  INSERT INTO service_ops.background_task (id, task_name, kind, led, source_table, sources, config_hash, release)
  VALUES (1, 'orders', 'poller', true, 'shop.orders', NULL, '', ''), (2, 'packing', 'processor', false, NULL, '{orders,calls}', '', '');
  INSERT INTO service_ops.leader_change (task_name, to_instance, term, reason, at)
  VALUES ('orders', 'one-a', 6, 'elected', ${at(-60)}), ('orders', 'one-b', 7, 'took_over', ${at(-5)}), ('orders', 'one-c', 8, 'took_over', ${at(50)});
  INSERT INTO service_ops.poll_run (poller, due_at, started_at, finished_at, outcome, rows_read, rows_inserted, term, instance_id)
  VALUES ('orders', now(), ${at(-10)}, ${at(-9)}, 'ran', 3, 3, 7, 'one-b'), ('orders', now(), ${at(1.9)}, ${at(2.5)}, 'late', 9, 2, 7, 'one-b');
  INSERT INTO service_ops.integration_inbox (source, message_id, status, source_created_at, created_at, updated_at, processed_at, trace_id, payload, claim, attempts, max_attempts, locked_by)
  VALUES ('orders', 'o-1', 'DONE', ${at(0)}, ${at(2)}, ${at(40)}, ${at(40)}, 't-1', '{}', 4, 1, 3, 'one-d'),
         ('orders', 'other', 'NEW', ${at(0)}, ${at(3)}, ${at(3)}, NULL, 't-2', '{}', 0, 0, 3, NULL);
  INSERT INTO service_ops.message_attempt (inbox_id, claim, attempt, started_at, ended_at, instance_id, outcome, error)
  VALUES (1, 1, 1, ${at(3)}, ${at(3.25)}, 'one-a', 'failed', 'RangeError: too far'),
         (1, 2, 2, NULL, ${at(9)}, 'one-b', 'reclaimed', 'InstanceLost: the process ended'),
         (1, 3, 3, ${at(10)}, ${at(12)}, 'one-c', 'dead', 'DeliveryFailed: 503 from https://hooks.example'),
         (2, 1, 1, NULL, ${at(9)}, 'one-b', 'failed', 'of another message');
  INSERT INTO service_ops.operator_action (at, who, how, action, target, detail)
  VALUES (${at(20)}, 'ana', 'cli', 'retry', 'inbox 1', '{"messages": 1}'), (${at(21)}, 'bob', 'cli', 'retry', 'inbox', '{"sources": ["calls"], "messages": 5}'),
         (${at(22)}, 'cid', 'http', 'retry', 'inbox', '{"trace": "t-1", "messages": 1}'), (${at(23)}, 'dan', 'cli', 'retry', 'inbox', '{"statuses": ["DEAD"], "messages": 70}')`

async function database(t: Scope) {
  const made = await createDatabase(t)
  const sql = made.pool()
  await sql.query(STORY)
  return { ...made, sql, story: (id: string) => readTrace(sql, id) }
}

const line = ({ since_start_ms: ms, what, who, detail }: StoryLine): string =>
  `${ms} ${what}, ${who ?? '-'}: ${detail ?? ''}`

const TOLD = [
  '0 written, shop.orders: row o-1 of the source',
  '2000 taken in, one-b: by orders, pass 2 (late) of term 7: 2 of 9 rows were new, as o-1 (inbox_id 1)',
  '3250 failed, one-a: attempt 1 of 3, after 250 ms: RangeError: too far',
  '9000 reclaimed, one-b: attempt 2 of 3, not begun: InstanceLost: the process ended',
  '12000 dead, one-c: attempt 3 of 3, after 2000 ms: DeliveryFailed: 503 from https://hooks.example',
  '20000 retry, ana: by cli',
  '22000 retry, cid: by http',
  '23000 retry, dan: by cli, with 70 messages in all, which may or may not have had this one among them',
  '40000 done, one-d: by packing, attempt 1 of 3',
]

describe('trace()', () => {
  test('tells a message from its source row to its outcome, in order, with who did each', async (t) => {
    const { story } = await database(t)
    const lines = await story('t-1')
    assert.deepEqual(lines.map(line), TOLD)
    assert.equal(lines[2]?.at, '2026-03-04T05:06:10.250000Z')
  })

  test('begins with the source row, though the clock of whoever wrote it was ahead', async (t) => {
    const { sql, story } = await database(t)
    await sql.query(
      `UPDATE service_ops.integration_inbox SET source_created_at = ${at(2.5)} WHERE inbox_id = 1`,
    )
    assert.deepEqual(
      (await story('t-1')).slice(0, 2).map(({ what, since_start_ms: ms }) => [what, ms]),
      [
        ['written', 500],
        ['taken in', 0],
      ],
    )
  })

  test('knows nothing of a trace that nothing has', async (t) => {
    assert.deepEqual(await (await database(t)).story('t-9'), [])
  })

  test('tells the same to a role that may only read, where pgboss is missing and where it may not be read', async (t) => {
    const made = await database(t)
    const { role, url } = await plainRole(t, made)
    await made.sql.query(
      `GRANT USAGE ON SCHEMA service_ops TO ${role}; GRANT SELECT ON ALL TABLES IN SCHEMA service_ops TO ${role}`,
    )
    // Where the owner has migrated, it is there.
    await made.sql.query('DROP SCHEMA IF EXISTS pgboss CASCADE')
    const reader = made.pool({ connectionString: url })
    const read = async (): Promise<string[]> => (await readTrace(reader, 't-1')).map(line)
    assert.deepEqual(await read(), TOLD)
    await migrateBoss(await made.client())
    const whole = await read()
    assert.deepEqual(whole.slice(0, TOLD.length), TOLD)
    assert.match(
      whole.at(-1) ?? '',
      /^\d.* jobs not read, -: GRANT USAGE ON SCHEMA pgboss TO plain_\w+; GRANT SELECT ON ALL TABLES IN SCHEMA pgboss TO/,
    )
    assert.equal(whole.length, TOLD.length + 1)
    await made.sql.query(
      `GRANT USAGE ON SCHEMA pgboss TO ${role}; GRANT SELECT ON ALL TABLES IN SCHEMA pgboss TO ${role}`,
    )
    assert.deepEqual(await read(), TOLD)
  })

  test('tells where a message is that is not finished, and what it waits for', async (t) => {
    const { sql, story } = await database(t)
    const last = async (): Promise<string | undefined> =>
      (await story('t-2')).map(line).at(-1)?.replace(/^\S+ /, '')
    await sql.query('DELETE FROM service_ops.message_attempt WHERE inbox_id = 2')
    const now = (change: string) =>
      sql.query(`UPDATE service_ops.integration_inbox SET ${change} WHERE inbox_id = 2`)
    assert.equal(await last(), 'waiting, -: for packing: no instance has it')
    await sql.query(`UPDATE service_ops.background_task SET paused = true, paused_by = 'ana' WHERE id = 2`)
    assert.equal(await last(), 'waiting, -: packing is paused by ana')
    await now(`status = 'PROCESSING', claim = 1, attempts = 1, locked_by = 'one-a', locked_at = now()`)
    assert.equal(await last(), 'in work, one-a: by packing, attempt 1 of 3')
    // By a release that knows nothing of attempts.
    await now(
      `status = 'FAILED', locked_by = NULL, locked_at = NULL, next_attempt_at = now() + interval '1 minute', last_error = 'Error: no'`,
    )
    assert.deepEqual(
      (await story('t-2'))
        .slice(2)
        .map(line)
        .map((text) => text.replace(/^\S+ /, '')),
      ['failed, -: attempt 1 of 3: Error: no', 'next attempt, -: attempt 2 of 3'],
    )
    await now(`status = 'DISCARDED', processed_at = now(), next_attempt_at = NULL`)
    assert.equal(await last(), 'discarded, -: finished without a handler')
    await sql.query(`UPDATE service_ops.background_task SET sources = '{calls}' WHERE id = 2`)
    await now(`status = 'NEW', processed_at = NULL`)
    assert.equal(await last(), 'waiting, -: no processor takes messages of orders')
  })

  test('tells how a message came that no pass of the ledger brought, and one that was sent', async (t) => {
    const { sql, story } = await database(t)
    await sql.query(`
      INSERT INTO service_ops.integration_inbox (source, message_id, source_created_at, created_at, trace_id, payload)
      VALUES ('orders', 'swept', ${at(60)}, ${at(61)}, 't-3', '{}'), ('calls', 'c', NULL, ${at(62)}, 't-4', '{}')`)
    assert.match(
      (await story('t-3')).map(line)[1] ?? '',
      /^1000 taken in, one-c: by orders in term 8, in no pass of the ledger: .*, as swept/,
    )
    assert.equal(
      (await story('t-4')).map(line)[0],
      '0 taken in, -: sent to POST /inbox/calls, as c (inbox_id 4)',
    )
  })

  test('names each message where several have one trace, and says when they are too many', async (t) => {
    const { sql, story } = await database(t)
    await sql.query(`INSERT INTO service_ops.integration_inbox (source, message_id, trace_id, payload, status, processed_at)
                     SELECT 'calls', 'c' || i, 't-5', '{}', 'DONE', now() FROM generate_series(1, 201) i`)
    const lines = await story('t-5')
    assert.equal(lines.length, 401)
    assert.ok(
      lines.some(({ what, detail }) => what === 'done' && detail === 'c7: by packing, attempt 0 of 10'),
    )
    assert.deepEqual(
      lines.filter(({ what }) => what === 'and more').map(({ detail }) => detail),
      ['201 messages have this trace: these are the first 200'],
    )
  })

  test('tells of the jobs that carry the trace', async (t) => {
    const made = await database(t)
    const { sql, story } = made
    await migrateBoss(await made.client())
    const id = '0192f0c1-7d2c-7000-8000-00000000000'
    const job = (n: number, state: string, times: string, data: string, output = 'NULL', name = 'job.mail') =>
      sql.query(`INSERT INTO pgboss.job_common (id, name, state, retry_count, created_on, start_after, started_on, completed_on, data, output)
                 VALUES ('${id}${n}', '${name}', '${state}', 1, ${times}, '${data}', ${output})`)
    await sql.query(
      `SELECT pgboss.create_queue('job.mail', '{"policy": "standard"}'); SELECT pgboss.create_queue('jobs.dead', '{"policy": "standard"}')`,
    )
    const ours = '{"tidemark": {"trace_id": "t-1"}, "data": 1}'
    await job(1, 'completed', `${at(50)}, ${at(50)}, ${at(51)}, ${at(52)}`, ours)
    await job(
      2,
      'failed',
      `${at(60)}, ${at(60)}, ${at(61)}, ${at(62)}`,
      ours,
      `'{"name": "RangeError", "message": "too far\\nat /home/me", "stack": "/home/me"}'`,
    )
    await job(3, 'retry', `${at(70)}, ${at(90)}, ${at(71)}, NULL`, ours)
    await job(4, 'created', `${at(80)}, ${at(80)}, NULL, NULL`, ours, 'NULL', 'jobs.dead')
    await job(5, 'active', `${at(1)}, ${at(1)}, ${at(2)}, NULL`, 'null')
    await sql.query(
      `INSERT INTO service_ops.job_claim (queue, job_id, retry_count, locked_by) VALUES ('job.mail', '${id}3', 1, 'one-a'), ('job.mail', '${id}5', 1, 'one-b')`,
    )
    assert.deepEqual((await story('t-1')).slice(TOLD.length).map(line), [
      `50000 job sent, -: mail (${id}1)`,
      `51000 job started, -: mail, attempt 2 (${id}1)`,
      `52000 job done, -: mail (${id}1)`,
      `60000 job sent, -: mail (${id}2)`,
      `61000 job started, -: mail, attempt 2 (${id}2)`,
      `62000 job failed, -: mail: RangeError: too far (${id}2)`,
      `70000 job sent, -: mail (${id}3)`,
      `71000 job started, one-a: mail, attempt 2 (${id}3)`,
      `80000 job given up, -: jobs.dead (${id}4)`,
      `90000 job due, -: mail: to be tried again (${id}3)`,
    ])
    // What carries no trace has its own id for one.
    assert.deepEqual(
      (await story(`${id}5`.replaceAll('-', ''))).map(({ what, who }) => [what, who]),
      [
        ['job sent', null],
        ['job started', 'one-b'],
      ],
    )
  })
})

test('a trace is found by its index, whatever the statistics say', async (t) => {
  const { sql } = await database(t)
  await sql.query(`INSERT INTO service_ops.integration_inbox (source, message_id, trace_id, payload)
                   SELECT 'calls', i::text, 'x' || i, '{}' FROM generate_series(1, 20000) i`)
  const scans = async (): Promise<number> =>
    Number(
      (
        await sql.query<{ n: string }>(
          `SELECT seq_tup_read AS n FROM pg_stat_user_tables WHERE relname = 'integration_inbox'`,
        )
      ).rows[0]?.n,
    )
  const client = await sql.connect()
  t.after(() => client.release())
  const read = async (): Promise<number> => {
    await client.query('SELECT pg_stat_force_next_flush()').catch(() => undefined)
    return scans()
  }
  const before = await read()
  assert.ok((await readTrace(client, 'x17')).length > 0)
  assert.equal(await read(), before)
})

test('the traces of a message id are found source by source', async (t) => {
  const { sql } = await database(t)
  await sql.query(
    `INSERT INTO service_ops.integration_inbox (source, message_id, trace_id, payload) VALUES ('calls', 'o-1', 't-8', '{}')`,
  )
  assert.deepEqual(await tracesOf(sql, 'o-1'), [
    { source: 'calls', trace_id: 't-8' },
    { source: 'orders', trace_id: 't-1' },
  ])
  assert.deepEqual(await tracesOf(sql, 'nothing'), [])
})
