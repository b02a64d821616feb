import assert from 'node:assert/strict'
import { test } from 'node:test'
import bossPackage from 'pg-boss/package.json' with { type: 'json' }
import { getConstructionPlans } from 'pg-boss'
import { claimJob } from '../../src/jobs/claimRows.ts'
import { BOSS_SCHEMA_VERSION } from '../../src/jobs/schema.ts'
import { skipAsRunner } from '../support/programWay.ts'
import { createBosses } from './bosses.ts'

// sql/queries/boss.sql writes to tables that are pg-boss's own. Whoever raises its version reads its change log,
// looks at these statements and at src/jobs/schema.ts, and then changes this number.
test('pg-boss is the version that our statements were written for', () => {
  assert.equal(bossPackage.version, '12.38.0')
  assert.equal(BOSS_SCHEMA_VERSION, 46)
  assert.ok(getConstructionPlans('pgboss').includes(`'${BOSS_SCHEMA_VERSION}'`))
})

test('the columns and states that our statements rely on are there', async (t) => {
  const bosses = await createBosses(t)
  const { rows: columns } = await bosses.pool.query<{ line: string }>(
    `SELECT format('%s %s%s', attname, format_type(atttypid, atttypmod), CASE WHEN attnotnull THEN ' not null' END) AS line
     FROM pg_attribute WHERE attrelid = 'pgboss.job'::regclass AND attname = ANY($1) ORDER BY attname`,
    [
      'id name state retry_count retry_limit start_after started_on completed_on heartbeat_on singleton_key policy'.split(
        ' ',
      ),
    ],
  )
  assert.deepEqual(
    columns.map(({ line }) => line),
    [
      'completed_on timestamp with time zone',
      'heartbeat_on timestamp with time zone',
      'id uuid not null',
      'name text not null',
      'policy text',
      'retry_count integer not null',
      'retry_limit integer not null',
      'singleton_key text',
      'start_after timestamp with time zone not null',
      'started_on timestamp with time zone',
      'state pgboss.job_state not null',
    ],
  )
  const { rows: states } = await bosses.pool.query<{ state: string }>(
    'SELECT unnest(enum_range(NULL::pgboss.job_state))::text AS state',
  )
  // Their order counts: our statements say `state < 'active'` for what is queued.
  assert.deepEqual(
    states.map(({ state }) => state),
    ['created', 'retry', 'active', 'completed', 'cancelled', 'failed'],
  )
})

const noTables = skipAsRunner('a partitioned queue is a table')

test(
  'the indexes that service_ops.trace() goes by are on every table of jobs',
  { skip: noTables },
  async (t) => {
    const bosses = await createBosses(t)
    const { pg } = await bosses.boss()
    await pg.createQueue('own', { partition: true })
    const { rows } = await bosses.pool.query<{ keys: string }>(
      `SELECT x.keys FROM unnest('{"(name, id)","(name, created_on)","(source_root_id)"}'::text[]) k(keys)
      CROSS JOIN LATERAL (SELECT c.relname || ' ' || k.keys AS keys FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhrelid
                           WHERE h.inhparent = 'pgboss.job'::regclass
                             AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisvalid
                                                AND strpos(pg_get_indexdef(i.indexrelid), k.keys) > 0)) x`,
    )
    assert.deepEqual(rows, [])
    const tables = await bosses.pool.query(`SELECT FROM pg_inherits WHERE inhparent = 'pgboss.job'::regclass`)
    assert.equal(tables.rowCount, 2)
  },
)

test('stately allows one queued and one active job, and a fetch raises the count only after a start', async (t) => {
  const bosses = await createBosses(t)
  const { pg } = await bosses.boss()
  await pg.createQueue('q', { policy: 'stately', retryLimit: 0 })
  assert.notEqual(await pg.send('q'), null)
  assert.equal(await pg.send('q'), null)
  const [first] = await pg.fetch('q', { includeMetadata: true })
  assert.equal(first?.retryCount, 0)
  assert.notEqual(await pg.send('q'), null)
  assert.equal(await pg.send('q'), null)
  assert.deepEqual(await pg.fetch('q'), [])
})

test('the fetch of a job that will be claimed does not wait for the disk, and its claim, like every other fetch, does', async (t) => {
  const bosses = await createBosses(t)
  const { pg, own } = await bosses.boss()
  for (const queue of ['job.report', 'poll.source']) {
    await pg.createQueue(queue)
    await pg.send(queue)
  }
  // As late as can be seen: constraint triggers that are deferred run when the transaction commits.
  await bosses.hands.query(`
    CREATE TABLE seen (n serial, what text, synchronous_commit text);
    CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      INSERT INTO public.seen (what, synchronous_commit) VALUES (TG_ARGV[0], current_setting('synchronous_commit')); RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER fetched AFTER UPDATE ON pgboss.job_common DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
      WHEN (OLD.state < NEW.state) EXECUTE FUNCTION see('fetch');
    CREATE CONSTRAINT TRIGGER claimed AFTER INSERT ON service_ops.job_claim DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
      EXECUTE FUNCTION see('claim')`)
  const [job] = await pg.fetch('job.report', { includeMetadata: true })
  assert.ok(job !== undefined && job.retryCount === 0)
  assert.ok(await claimJob(own, { queue: 'job.report', id: job.id, retryCount: 0 }, 'me'))
  assert.equal((await pg.fetch('poll.source', { includeMetadata: true })).length, 1)
  assert.equal((await pg.fetch('job.report')).length, 0)
  const { rows } = await bosses.pool.query('SELECT what, synchronous_commit FROM seen ORDER BY n')
  const planned = new Set<string>()
  const clients = await Promise.all(Array.from({ length: own.counts.total }, () => own.connect()))
  for (const client of clients) {
    const found = await client.query<{ name: string }>(
      `SELECT name FROM pg_prepared_statements WHERE name LIKE 'tidemark_boss_%'`,
    )
    for (const { name } of found.rows) planned.add(name)
    client.release()
  }
  assert.equal(planned.size, 4, 'an insert and a fetch of each queue')
  assert.deepEqual(rows, [
    { what: 'fetch', synchronous_commit: 'off' },
    { what: 'claim', synchronous_commit: 'on' },
    { what: 'fetch', synchronous_commit: 'on' },
  ])
})
