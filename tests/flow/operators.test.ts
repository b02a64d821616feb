import assert from 'node:assert/strict'
import { hostname } from 'node:os'
import { test } from 'node:test'
import { listUncommented } from '../../scripts/schema/listing.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { startInstance } from '../support/instance.ts'
import type { Scope } from '../support/scope.ts'
import { psql, psqlMissing, type Row } from '../support/psql.ts'
import { until } from '../support/until.ts'

/*
 * What operators ask, as they type it: through psql, beside a demo that runs, as roles that may only read. Columns are
 * those that people outside may rely on: a test that fails here means that somebody's script fails.
 */

/** The columns that may be relied on, by relation. */
const PROMISED = {
  integration_poll_watermark:
    'id, poller, last_created_at, last_message_id, edge, term, rows_total, late_rows_total, updated_at',
  background_task:
    'id, task_name, kind, led, paused, paused_by, paused_at, interval_seconds, source_table, source_columns, ' +
    'forgotten_before, config_hash, release, seen_at',
  background_task_leader: 'task_name, holder, instance_id, term, acquired_at, renewed_at, expires_at',
  leader_change: 'task_name, from_instance, to_instance, term, reason, gap_ms, at',
  integration_inbox:
    'inbox_id, source, message_id, status, payload, group_key, trace_id, traceparent, claim, attempts, max_attempts, ' +
    'interruptions, next_attempt_at, locked_by, locked_at, last_error, source_created_at, created_at, updated_at, processed_at',
  poll_run:
    'poller, due_at, started_at, finished_at, outcome, rows_read, rows_inserted, late_rows, edge, term, instance_id, error',
  runner_instance: 'instance_id, machine_id, region, release, process_group, state, started_at, last_seen_at',
  operator_action: 'at, who, how, action, target, detail',
  task_status: '*',
  schema_window: 'schema_version, oldest_code, at',
  poller_status: '*',
  processor_status: '*',
  instance_status: '*',
} as const

const PASSWORD = 'reads-only'

test('the operators’ queries', { skip: psqlMissing }, async (t) => {
  const database = await createDatabase(t)
  const admin = database.pool()
  const instance = await startInstance(t, {
    databaseUrl: database.url,
    env: { DEMO_RATE: '20', MESSAGE_POLLER_INTERVAL_SECONDS: '1' },
  })
  await instance.said('ready')
  /** May read everything in our schema. */
  const reader = await createReader(t, database, 'reader')
  /** As the reader, but nothing on the demo's source. */
  const stranger = await createReader(t, database, 'stranger')
  await admin.query(`REVOKE SELECT ON service_ops.send_serviceops FROM ${database.name}_stranger`)
  await until(
    'messages to be done and the edge to move',
    async () => {
      const { rows } = await admin.query<{ enough: boolean }>(`
      SELECT isfinite(edge) AND (SELECT count(*) > 10 FROM service_ops.integration_inbox WHERE status = 'DONE') AS enough
        FROM service_ops.integration_poll_watermark WHERE id = 1`)
      return rows[0]?.enough
    },
    120_000,
  )

  async function one(sql: string): Promise<Row> {
    const rows = await psql(reader, sql)
    assert.equal(rows.length, 1, sql)
    return rows[0] ?? {}
  }

  await t.test('every promised column is there, to be read by a role that may only read', async () => {
    for (const [relation, columns] of Object.entries(PROMISED)) {
      await psql(reader, `SELECT ${columns} FROM service_ops.${relation}`)
    }
    await assert.rejects(
      psql(reader, 'UPDATE service_ops.background_task SET paused = true'),
      /permission denied/,
    )
  })

  await t.test(
    'the watermark of the first poller is row 1: its edge lies behind the greatest cursor or at it',
    async () => {
      const row = await one('SELECT * FROM service_ops.integration_poll_watermark WHERE id = 1')
      assert.deepEqual([row['poller'], row['term']], ['message_poller', '1'])
      assert.ok(Number(row['rows_total']) > 10)
      await one(
        'SELECT last_created_at, last_message_id, updated_at FROM service_ops.integration_poll_watermark WHERE id = 1',
      )
      const proof = await one(`
      SELECT w.edge <= now() AS past, w.rows_total = (SELECT count(*) FROM service_ops.integration_inbox) AS counted,
             (SELECT count(*) FROM service_ops.send_serviceops s WHERE s.created_at < w.edge
                 AND NOT EXISTS (SELECT FROM service_ops.integration_inbox i WHERE i.message_id = s.message_id::text)) AS missing,
             (SELECT count(*) FROM service_ops.send_serviceops s
               WHERE (s.created_at, s.message_id::text) = (w.last_created_at, w.last_message_id)) AS exact_to_the_microsecond
        FROM service_ops.integration_poll_watermark w WHERE id = 1`)
      assert.deepEqual(proof, { past: 't', counted: 't', missing: '0', exact_to_the_microsecond: '1' })
    },
  )

  await t.test('the leaders: one row a led task, with a lease that has not run out', async () => {
    const leaders = await psql(
      reader,
      'SELECT *, expires_at > now() AS alive FROM service_ops.background_task_leader ORDER BY task_name',
    )
    assert.deepEqual(
      leaders.map((row) => [row['task_name'], row['instance_id'], row['term'], row['alive']]),
      [
        ['clinical_ops_processor', instance.id, '1', 't'],
        ['message_poller', instance.id, '1', 't'],
      ],
    )
    const changes = await psql(reader, 'SELECT * FROM service_ops.leader_change ORDER BY task_name')
    assert.deepEqual(
      changes.map((row) => [row['task_name'], row['from_instance'], row['to_instance'], row['reason']]),
      [
        ['clinical_ops_processor', '', instance.id, 'elected'],
        ['message_poller', '', instance.id, 'elected'],
      ],
    )
  })

  await t.test('the inbox by status', async () => {
    const counts = await psql(
      reader,
      `SELECT status, COUNT(*) FROM service_ops.integration_inbox WHERE created_at > NOW() - INTERVAL '1 hour' GROUP BY status`,
    )
    assert.ok(counts.some((row) => row['status'] === 'DONE' && Number(row['count']) > 10))
  })

  await t.test('the tasks, numbered in order of registration', async () => {
    const tasks = await psql(
      reader,
      'SELECT id, task_name, kind, led, paused FROM service_ops.background_task ORDER BY id',
    )
    assert.deepEqual(tasks, [
      { id: '1', task_name: 'message_poller', kind: 'poller', led: 't', paused: 'f' },
      { id: '2', task_name: 'clinical_ops_processor', kind: 'processor', led: 't', paused: 'f' },
      { id: '3', task_name: 'inbox_digest', kind: 'job', led: 'f', paused: 'f' },
    ])
  })

  await t.test('the status views say who leads, how far it has come and what waits', async () => {
    const poller = await one('SELECT * FROM service_ops.poller_status')
    assert.deepEqual(
      [poller['poller'], poller['leader'], poller['orphaned'], poller['last_error']],
      ['message_poller', instance.id, 'f', ''],
    )
    // A pass that a busy machine began late has done the same.
    assert.match(poller['last_outcome'] ?? '', /^(ran|late)$/)
    assert.ok(Number(poller['lag_seconds']) < 30 && Number(poller['edge_lag_seconds']) < 60)
    const processor = await one('SELECT * FROM service_ops.processor_status')
    assert.deepEqual(
      [processor['processor'], processor['exclusive'], processor['leader'], processor['dead']],
      ['clinical_ops_processor', 't', instance.id, '0'],
    )
    const status = await one('SELECT * FROM service_ops.instance_status')
    assert.deepEqual(
      [status['instance_id'], status['state'], status['leads'], status['machine_id']],
      [instance.id, 'ready', '{clinical_ops_processor,message_poller}', hostname()],
    )
    const record = await one('SELECT * FROM service_ops.runner_instance')
    assert.deepEqual([record['instance_id'], record['state']], [instance.id, 'ready'])
  })

  await t.test('the schema window says which code may run', async () => {
    const newest = await one('SELECT * FROM service_ops.schema_window ORDER BY schema_version DESC LIMIT 1')
    assert.ok(Number(newest['oldest_code']) <= Number(newest['schema_version']))
  })

  await t.test('verify() runs every invariant, and all hold', async () => {
    const rows = await psql(reader, 'SELECT * FROM service_ops.verify()')
    const [{ number } = {}] = await psql(reader, 'SELECT count(*) AS number FROM service_ops.invariant')
    assert.equal(rows.length, Number(number), 'one poller: each invariant once')
    for (const row of rows) {
      assert.deepEqual([row['ok'], row['found']], ['t', '0'], `${row['name']}: ${row['detail']}`)
      // Its query can be pasted.
      await psql(reader, row['query'] ?? '')
    }
  })

  await t.test(
    'verify() of a role that may not read the source says so, with the GRANT that mends it',
    async () => {
      const name = 'nothing_below_the_edge_is_missing:message_poller'
      const ask = async (): Promise<Row[]> => psql(stranger, 'SELECT * FROM service_ops.verify()')
      const first = await ask()
      assert.deepEqual(
        first.filter((row) => row['ok'] !== 't').map((row) => row['name']),
        [name],
      )
      const detail = first.find((row) => row['name'] === name)?.['detail'] ?? ''
      const grant = /GRANT .+$/.exec(detail)?.[0]
      assert.ok(grant?.includes('service_ops.send_serviceops'), detail)
      await admin.query(grant ?? '')
      assert.deepEqual(
        (await ask()).filter((row) => row['ok'] !== 't'),
        [],
      )
    },
  )

  await t.test('verify() names the GRANT on the schema too, where a source lies in another one', async () => {
    await admin.query('CREATE SCHEMA "My Shop"')
    await admin.query(
      'CREATE TABLE "My Shop".orders (id bigint PRIMARY KEY, created_at timestamptz NOT NULL)',
    )
    await admin.query(`
      INSERT INTO service_ops.background_task (id, task_name, kind, led, source_table, source_columns, config_hash, release)
      VALUES (99, 'orders', 'poller', true, '"My Shop".orders', '{"id": "id", "created_at": "created_at", "where": "true"}', '', '')`)
    await admin.query(`
      INSERT INTO service_ops.integration_poll_watermark (id, poller, edge, holder, term, pass)
      VALUES (99, 'orders', '-infinity', gen_random_uuid(), 0, 0)`)
    const ask = async (): Promise<Row | undefined> =>
      (await psql(reader, 'SELECT * FROM service_ops.verify()')).find(
        (row) => row['name'] === 'nothing_below_the_edge_is_missing:orders',
      )
    for (const what of ['USAGE ON SCHEMA "My Shop"', 'SELECT ON "My Shop".orders']) {
      const { ok, detail = '' } = (await ask()) ?? {}
      const grant = /GRANT .+$/.exec(detail)?.[0] ?? ''
      assert.deepEqual([ok, grant.includes(what)], ['', true], detail)
      await admin.query(grant)
    }
    assert.equal((await ask())?.['ok'], 't')
    await admin.query('DELETE FROM service_ops.integration_poll_watermark WHERE id = 99')
    await admin.query('DELETE FROM service_ops.background_task WHERE id = 99')
  })

  await t.test('every relation and column carries a comment, the demo’s too', async () => {
    const client = await database.client()
    assert.deepEqual(await listUncommented(client, 'service_ops'), [])
  })
})

/** The address of a role that may only read. Roles are the server's: they must be gone before the database is. */
async function createReader(scope: Scope, database: TestDatabase, kind: string): Promise<string> {
  const role = `${database.name}_${kind}`
  const admin = await database.client()
  await admin.query(`CREATE ROLE ${role} LOGIN PASSWORD '${PASSWORD}'`)
  scope.after(async () => {
    await admin.query(`DROP OWNED BY ${role}`)
    await admin.query(`DROP ROLE ${role}`)
  })
  await admin.query(`GRANT USAGE ON SCHEMA service_ops TO ${role}`)
  await admin.query(`GRANT SELECT ON ALL TABLES IN SCHEMA service_ops TO ${role}`)
  const url = new URL(database.url)
  url.username = role
  url.password = PASSWORD
  return url.href
}
