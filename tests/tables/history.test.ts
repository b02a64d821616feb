import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  addCounted,
  forgetHistory,
  readHistory,
  readLeaderChanges,
  sampleHistory,
} from '../../src/tables/history.ts'
import type { HistoryPoint } from '../../src/tables/history.ts'
import { createDatabase } from '../support/database.ts'
import { until } from '../support/until.ts'

const HOUR = { from: '2026-05-01T10:00:00Z', to: '2026-05-01T11:00:00Z' }
const minute = (n: number): string => `2026-05-01T10:${String(n).padStart(2, '0')}:00.000Z`

/** Values of one series, by the minute of their step. */
function series(points: readonly HistoryPoint[], name: string, key: string): Record<string, number> {
  return Object.fromEntries(
    points
      .filter((one) => one.name === name && one.key === key)
      .map(({ at, value }) => [at.slice(11, 16), value]),
  )
}

test('what instances count in the same minute adds up, and steps have the sum of their minutes', async (t) => {
  const db = (await createDatabase(t)).pool()
  const done = (value: number) => [{ name: 'done', key: 'orders', value }]
  await addCounted(db, 'a', { at: minute(0), number: 1, counted: done(3) })
  await addCounted(db, 'b', { at: minute(0), number: 1, counted: done(4) })
  await addCounted(db, 'a', { at: minute(1), number: 2, counted: [] })
  await addCounted(db, 'a', { at: minute(2), number: 3, counted: done(5) })
  await addCounted(db, 'a', { at: minute(7), number: 4, counted: done(1) })

  const byMinute = await readHistory(db, { ...HOUR, stepMinutes: 1 })
  assert.deepEqual(series(byMinute, 'done', 'orders'), { '10:00': 7, '10:01': 0, '10:02': 5, '10:07': 1 })
  const byFive = await readHistory(db, { ...HOUR, from: minute(1), stepMinutes: 5 })
  assert.deepEqual(series(byFive, 'done', 'orders'), { '10:00': 12, '10:05': 1 }, 'the first step is whole')
  assert.deepEqual(await readHistory(db, { from: minute(8), to: HOUR.to, stepMinutes: 1 }), [])
})

test('a batch that is sent again is not added again, also while its first statement has not ended', async (t) => {
  const database = await createDatabase(t)
  const [db, first] = [database.pool(), await database.client()]
  const batch = { at: minute(0), number: 7, counted: [{ name: 'done', key: 'orders', value: 2 }] }
  await first.query('BEGIN')
  await addCounted(first, 'a', batch)
  let settled = false
  const second = addCounted(db, 'a', batch).finally(() => (settled = true))
  await until('it to wait for the first', async () => {
    const { rows } = await first.query(`SELECT FROM pg_locks WHERE NOT granted`)
    return rows.length > 0
  })
  assert.equal(settled, false)
  await first.query('COMMIT')
  await second
  await addCounted(db, 'a', { ...batch, number: 6 })
  assert.deepEqual(series(await readHistory(db, { ...HOUR, stepMinutes: 1 }), 'done', 'orders'), {
    '10:00': 2,
  })
  await addCounted(db, 'a', { ...batch, number: 8 })
  assert.deepEqual(series(await readHistory(db, { ...HOUR, stepMinutes: 1 }), 'done', 'orders'), {
    '10:00': 4,
  })
})

test('percentiles come from the buckets of all instances and minutes of a step', async (t) => {
  const db = (await createDatabase(t)).pool()
  const latency = (bound: string, value: number) => ({ name: 'latency', key: `orders ${bound}`, value })
  await addCounted(db, 'a', { at: minute(0), number: 1, counted: [latency('0.1', 50), latency('1', 44)] })
  await addCounted(db, 'b', { at: minute(1), number: 1, counted: [latency('inf', 1), latency('1', 5)] })
  const points = await readHistory(db, { ...HOUR, stepMinutes: 60 })
  assert.deepEqual(series(points, 'latency_p50', 'orders'), { '10:00': 0.1 })
  assert.ok(Math.abs((series(points, 'latency_p95', 'orders')['10:00'] ?? 0) - 0.9592) < 0.001)
  assert.deepEqual(
    points.filter(({ name }) => !name.startsWith('latency_')),
    [],
    'neither buckets nor marks are points',
  )
})

test('of what was looked at a step has the greatest value, zero where nothing was found, and nothing where nobody looked', async (t) => {
  const db = (await createDatabase(t)).pool()
  await db.query(
    `INSERT INTO service_ops.history_minute (at, name, key, value)
     SELECT at::timestamptz, name, key, value
       FROM (VALUES ($1, 'instances', 'ready', 2), ($1, 'backlog', 'orders NEW', 5), ($1, 'lag_seconds', 'orders', 3),
                    ($2, 'instances', 'ready', 1), ($2, 'backlog', 'orders NEW', 9), ($2, 'lag_seconds', 'orders', 1),
                    ($3, 'instances', 'ready', 1), ($4, 'flushed', 'a', 1)) v(at, name, key, value)`,
    [minute(0), minute(1), minute(2), minute(3)],
  )
  const byTwo = await readHistory(db, { ...HOUR, stepMinutes: 2 })
  assert.deepEqual(series(byTwo, 'backlog', 'orders NEW'), { '10:00': 9, '10:02': 0 })
  assert.deepEqual(series(byTwo, 'instances', 'ready'), { '10:00': 2, '10:02': 1 })
  assert.deepEqual(series(byTwo, 'lag_seconds', 'orders'), { '10:00': 3 }, 'no lag is no lag of zero')
  const byOne = await readHistory(db, { ...HOUR, stepMinutes: 1 })
  assert.deepEqual(Object.keys(series(byOne, 'backlog', 'orders NEW')), ['10:00', '10:01', '10:02'])
})

test('a sample tells backlog, ages, lag, late rows and instances, of what living instances have', async (t) => {
  const db = (await createDatabase(t)).pool()
  await db.query(`
    INSERT INTO service_ops.background_task (id, task_name, kind, led, interval_seconds, sources, config_hash, release)
    VALUES (1, 'orders', 'poller', true, 10, NULL, '', ''), (2, 'billing', 'processor', false, NULL, '{orders}', '', ''),
           (3, 'gone', 'processor', false, NULL, '{old}', '', '');
    INSERT INTO service_ops.runner_instance (instance_id, holder, release, state, tasks)
    VALUES ('one', gen_random_uuid(), '1', 'ready', '{orders,billing}'), ('two', gen_random_uuid(), '1', 'draining', '{}'),
           ('off', gen_random_uuid(), '1', 'stopped', '{gone}');
    INSERT INTO service_ops.integration_poll_watermark (id, poller, edge, holder, term, pass)
    VALUES (1, 'orders', now() - interval '90 seconds', gen_random_uuid(), 1, 1);
    INSERT INTO service_ops.poll_run (poller, due_at, started_at, finished_at, outcome, late_rows, term, instance_id)
    VALUES ('orders', now(), now() - interval '20 seconds', date_trunc('minute', now()), 'ran', 2, 1, 'one'),
           ('orders', now(), now() - interval '15 seconds', date_trunc('minute', now()), 'ran', 3, 1, 'one');
    INSERT INTO service_ops.integration_inbox (source, message_id, status, created_at, next_attempt_at, trace_id)
    VALUES ('orders', '1', 'DONE', now() - interval '1 hour', NULL, ''), ('orders', '2', 'NEW', now() - interval '60 seconds', NULL, ''),
           ('orders', '3', 'PROCESSING', now(), NULL, ''), ('orders', '4', 'FAILED', now(), now(), ''),
           ('orders', '5', 'DEAD', now() - interval '1 day', 'infinity', ''), ('orders', '6', 'NEW', now(), now(), ''),
           ('old', '7', 'NEW', now(), NULL, '');`)
  const read = async (): Promise<Record<string, number>> => {
    const { rows } = await db.query<{ what: string; value: number }>(
      `SELECT name || ' ' || key AS what, round(value::numeric)::float8 AS value FROM service_ops.history_minute ORDER BY at DESC`,
    )
    return Object.fromEntries(rows.map(({ what, value }) => [what, value]))
  }
  await sampleHistory(db)
  const seen = await read()
  const {
    'lag_seconds orders': lag,
    'edge_lag_seconds orders': edgeLag,
    'oldest_seconds orders': oldest,
    ...rest
  } = seen
  assert.deepEqual(rest, {
    'backlog orders NEW': 2,
    'backlog orders PROCESSING': 1,
    'backlog orders FAILED': 1,
    'backlog orders DEAD': 1,
    'instances ready': 1,
    'instances draining': 1,
    'late_rows orders': 5,
  })
  assert.ok(near(lag, 15) && near(edgeLag, 90) && near(oldest, 60), JSON.stringify(seen))
  await db.query(`DELETE FROM service_ops.integration_inbox WHERE status = 'DEAD'`)
  await sampleHistory(db)
  await sampleHistory(db)
  assert.equal((await read())['late_rows orders'], 5, 'summed up again, and not added')
})

const near = (value: number | undefined, expected: number): boolean =>
  value !== undefined && value >= expected - 1 && value < expected + 30

test('the plan of a sample does not look at what is finished', async (t) => {
  const db = (await createDatabase(t)).pool()
  await db.query(`
    INSERT INTO service_ops.background_task (id, task_name, kind, led, sources, config_hash, release)
    VALUES (2, 'billing', 'processor', false, '{orders}', '', '');
    INSERT INTO service_ops.runner_instance (instance_id, holder, release, state, tasks)
    VALUES ('one', gen_random_uuid(), '1', 'ready', '{billing}');
    INSERT INTO service_ops.integration_inbox (source, message_id, status, trace_id, processed_at)
    SELECT 'orders', n, 'DONE', '', now() FROM generate_series(1, 50000) n;
    INSERT INTO service_ops.inbox_low_water (source, low) SELECT 'orders', max(inbox_id) - 100 FROM service_ops.integration_inbox;
    ANALYZE service_ops.integration_inbox`)
  const client = await db.connect()
  try {
    await client.query('BEGIN')
    await sampleHistory(client)
    const { rows } = await client.query<{ seen: string }>(
      `SELECT pg_stat_get_xact_tuples_returned('service_ops.integration_inbox'::regclass)
            + pg_stat_get_xact_tuples_fetched('service_ops.integration_inbox'::regclass) AS seen`,
    )
    assert.ok(Number(rows[0]?.seen) < 1_000, `${rows[0]?.seen} rows were looked at`)
    await client.query('ROLLBACK')
  } finally {
    client.release()
  }
})

test('what is older than it is kept is forgotten, and nothing else', async (t) => {
  const db = (await createDatabase(t)).pool()
  await db.query(`
    INSERT INTO service_ops.history_minute (at, name, key, value)
    SELECT date_trunc('minute', now()) - n * interval '1 day', 'done', 'orders', 1 FROM generate_series(0, 10) n`)
  const days = 8 * 86_400_000
  assert.equal(await forgetHistory(db, days), 1, 'an hour at a time, however long nobody was there')
  assert.equal((await forgetHistory(db, days)) + (await forgetHistory(db, days)), 2)
  assert.equal(await forgetHistory(db, days), 0)
  const { rows } = await db.query('SELECT FROM service_ops.history_minute')
  assert.equal(rows.length, 8)
})

test('changes of leadership of a stretch come in order of time', async (t) => {
  const db = (await createDatabase(t)).pool()
  await db.query(`
    INSERT INTO service_ops.leader_change (task_name, from_instance, to_instance, term, reason, gap_ms, at)
    VALUES ('orders', 'a', 'b', 3, 'handed_over', 12.5, '2026-05-01T10:30:00.000001Z'),
           ('orders', NULL, 'a', 2, 'elected', NULL, '2026-05-01T10:00:00Z'),
           ('orders', 'b', 'c', 4, 'took_over', 900, '2026-05-01T11:00:00Z')`)
  const changes = await readLeaderChanges(db, { from: new Date(HOUR.from), to: HOUR.to })
  assert.deepEqual(
    changes.map(({ term, reason, gap_ms: gap }) => [term, reason, gap]),
    [
      [2, 'elected', null],
      [3, 'handed_over', 12.5],
    ],
  )
  assert.equal(Date.parse(changes[1]?.at ?? ''), Date.parse('2026-05-01T10:30:00Z'))
})
