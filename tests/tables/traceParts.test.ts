import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Client } from 'pg'
import { migrateBoss } from '../../src/jobs/schema.ts'
import { jobIdIn } from '../../src/jobs/send.ts'
import { readTrace } from '../../src/tables/trace.ts'
import { createDatabase } from '../support/database.ts'
import type { Scope } from '../support/scope.ts'

const STORY = `
  INSERT INTO service_ops.integration_inbox (source, message_id, status, created_at, updated_at, processed_at, trace_id, payload, claim, attempts, max_attempts, locked_by)
  VALUES ('calls', 'c', 'DONE', now(), now(), now(), 't-1', '{}', 2, 1, 3, 'one-a');
  INSERT INTO service_ops.message_attempt (inbox_id, claim, attempt, ended_at, instance_id, outcome, error)
  VALUES (1, 1, 1, now(), 'one-a', 'failed', 'RangeError: too far');
  INSERT INTO service_ops.operator_action (at, who, how, action, target) VALUES (now(), 'ana', 'cli', 'retry', 'inbox 1');`

/** A database with pg-boss's schema, two queues of jobs and the one of the dead; `client` is the one that is asked. */
async function database(t: Scope) {
  const made = await createDatabase(t)
  const client = await made.client()
  await client.query(STORY)
  await migrateBoss(await made.client())
  for (const queue of ['job.mail', 'job.print', 'jobs.dead'])
    await client.query(`SELECT pgboss.create_queue($1, '{"policy": "standard"}')`, [queue])
  return {
    made,
    client,
    whats: async (id = 't-1') => (await readTrace(client, id)).map(({ what }) => what),
    unread: async () =>
      (await readTrace(client, 't-1'))
        .filter(({ what }) => what.endsWith(' not read'))
        .map(({ what, detail }) => `${what}: ${detail ?? ''}`),
  }
}

async function sendJob(
  client: Client,
  {
    id,
    name,
    traceId,
    root = null,
    at = 'now()',
  }: { id: string; name: string; traceId: string; root?: string | null; at?: string },
): Promise<void> {
  await client.query(
    `INSERT INTO pgboss.job_common (id, name, data, source_root_id, created_on, start_after) VALUES ($1, $2, $3, $4, ${at}, ${at})`,
    [id, name, { tidemark: { trace_id: traceId }, data: 1 }, root],
  )
}

const WHOLE = ['taken in', 'failed', 'retry', 'done']
const sorted = (whats: readonly string[]): string[] => [...whats].sort()

describe('the jobs of a trace are found', () => {
  test('by their ids, in every queue and whenever they were sent, and their copies among the dead by the first of their chain', async (t) => {
    const { client, whats } = await database(t)
    // Before the message: those are not looked through.
    const at = `now() - interval '1 day'`
    const first = jobIdIn('t-1')
    assert.match(first, /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
    await sendJob(client, { id: first, name: 'job.mail', traceId: 't-1', at })
    await sendJob(client, { id: jobIdIn('t-1'), name: 'job.print', traceId: 't-1', at })
    const other = jobIdIn('t-2')
    await sendJob(client, { id: other, name: 'job.print', traceId: 't-2', at })
    const dead = {
      id: '0192f0c1-7d2c-7000-8000-000000000001',
      name: 'jobs.dead',
      traceId: 't-1',
      root: first,
      at,
    }
    await sendJob(client, dead)
    assert.deepEqual(sorted(await whats()), sorted([...WHOLE, 'job given up', 'job sent', 'job sent']))
    assert.deepEqual(await whats('t-2'), ['job sent'])
    // Without a message and when the first is forgotten, too.
    await client.query('DELETE FROM pgboss.job_common WHERE id = $1', [first])
    assert.deepEqual(sorted(await whats()), sorted([...WHOLE, 'job given up', 'job sent']))
  })

  test('among those that a release without such ids sent after its message', async (t) => {
    const { client, whats } = await database(t)
    await sendJob(client, { id: '0192f0c1-7d2c-7000-8000-000000000001', name: 'job.mail', traceId: 't-1' })
    assert.deepEqual(sorted(await whats()), sorted([...WHOLE, 'job sent']))
  })

  test('by indexes alone, and without reading more than a thousand of a queue, whatever the statistics say', async (t) => {
    const { client, whats } = await database(t)
    const ROWS = 20_000
    await client.query(
      `INSERT INTO pgboss.job_common (name, data, created_on, start_after)
       SELECT (ARRAY['job.mail', 'job.print'])[1 + i % 2], jsonb_build_object('tidemark', jsonb_build_object('trace_id', 'x' || i), 'data', i), now() + i * interval '1 ms', now()
         FROM generate_series(1, ${ROWS}) i`,
    )
    await sendJob(client, {
      id: jobIdIn('t-1'),
      name: 'job.mail',
      traceId: 't-1',
      at: `now() + interval '1 hour'`,
    })
    const read = async (): Promise<{ walked: number; fetched: number }> => {
      await client.query('SELECT pg_stat_force_next_flush()').catch(() => undefined)
      const { rows } = await client.query<{ walked: string; fetched: string }>(
        `SELECT seq_tup_read AS walked, idx_tup_fetch AS fetched FROM pg_stat_user_tables WHERE schemaname = 'pgboss' AND relname = 'job_common'`,
      )
      return { walked: Number(rows[0]?.walked), fetched: Number(rows[0]?.fetched) }
    }
    for (const statistics of ['none', 'fresh'] as const) {
      if (statistics === 'fresh') await client.query('ANALYZE pgboss.job_common')
      const before = await read()
      assert.deepEqual(sorted(await whats()), sorted([...WHOLE, 'job sent']))
      const after = await read()
      assert.equal(after.walked - before.walked, 0, statistics)
      assert.ok(
        after.fetched - before.fetched < 2_500,
        `${statistics}: ${after.fetched - before.fetched} fetched`,
      )
    }
  })
})

describe('what cannot be read of a story is said in its place, and the rest is told:', () => {
  test('attempts and actions whose tables are gone', async (t) => {
    const { client, whats, unread } = await database(t)
    await client.query('DROP TABLE service_ops.message_attempt')
    assert.deepEqual(await whats(), ['taken in', 'retry', 'done', 'attempts not read'])
    await client.query('DROP TABLE service_ops.operator_action')
    assert.deepEqual(await unread(), [
      'actions not read: the table is not there, or not as it should be: run `tidemark migrate --repair`',
      'attempts not read: the table is not there, or not as it should be: run `tidemark migrate --repair`',
    ])
  })

  for (const limit of ['statement_timeout', 'lock_timeout'])
    test(`jobs that somebody holds for longer than the ${limit}`, async (t) => {
      const { made, client, whats, unread } = await database(t)
      const other = await made.client()
      await other.query('BEGIN; LOCK TABLE pgboss.job')
      await client.query(`SET ${limit} = '300ms'`)
      assert.deepEqual(sorted(await whats()), sorted([...WHOLE, 'jobs not read']))
      assert.deepEqual(await unread(), [
        'jobs not read: it took longer than a limit of time allows, or somebody cancelled it',
      ])
      await other.query('ROLLBACK')
      await client.query(`RESET ${limit}`)
      assert.deepEqual(sorted(await whats()), sorted(WHOLE))
    })
})
