import assert from 'node:assert/strict'
import { test } from 'node:test'
import bossPackage from 'pg-boss/package.json' with { type: 'json' }
import { getConstructionPlans } from 'pg-boss'
import { BOSS_SCHEMA_VERSION } from '../../src/jobs/schema.ts'
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
