import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { tidemark } from '../cli/tidemark.ts'
import { asRunner, OWNER_ROLE } from '../support/programWay.ts'
import { configOf, examined, finds, isSilent } from './patient.ts'

test('schemas and work', async (t) => {
  const database = await createDatabase(t)
  const { url } = database
  const sql = database.pool()
  const options = { url, config: configOf('orders') }
  const migrate = (...flags: string[]) => tidemark(['migrate', ...flags], { env: { DATABASE_URL: url } })

  await t.test('no schema of pg-boss', async () => {
    // Where the owner has migrated, it is there.
    await sql.query('DROP SCHEMA IF EXISTS pgboss CASCADE')
    await finds('queue_schema', /there is no schema pgboss/, options)
    if (asRunner()) await sql.query(`CREATE SCHEMA pgboss AUTHORIZATION ${OWNER_ROLE}`)
    assert.equal((await migrate()).code, 0)
    await isSilent('queue_schema', options)
  })

  await t.test('a schema of pg-boss that is too old, or newer', async () => {
    await sql.query('UPDATE pgboss.version SET version = version - 1')
    await finds('queue_schema', /is at version \d+ and this release needs \d+/, options)
    await sql.query('UPDATE pgboss.version SET version = version + 2')
    const { status, findings } = await examined('queue_schema', options)
    assert.deepEqual([status, findings.map(({ severity }) => severity)], ['ok', ['note']])
    await sql.query('UPDATE pgboss.version SET version = version - 1')
  })

  await t.test('an object of the schema that somebody dropped', async () => {
    await isSilent('schema', options)
    await sql.query('DROP TABLE service_ops.poll_sweep CASCADE')
    const { findings } = await examined('schema', options)
    assert.deepEqual(
      findings.map(({ seen, remedy }) => [seen, remedy]),
      ['poll_sweep', 'sweep_status'].map((name) => [
        `service_ops.${name} is missing`,
        'tidemark migrate --repair',
      ]),
    )
    assert.equal((await migrate('--repair')).code, 0)
    await isSilent('schema', options)
  })

  await t.test('a schema that is older or newer than the release, or was made by other files', async () => {
    const { rows } = await sql.query<{ hash: string }>(
      'UPDATE service_ops.migrations SET hash = $1 WHERE id = 1 RETURNING hash',
      ['x'],
    )
    assert.equal(rows.length, 1)
    await finds('schema', /^1_schema_window\.sql is not the file that was applied/, options)
    const client = await database.client()
    await client.query('BEGIN; DELETE FROM service_ops.schema_window; COMMIT')
    await client.query('INSERT INTO service_ops.schema_window (schema_version, oldest_code) VALUES (1, 1)')
    await finds('schema', /the schema is at version 1 and this release needs/, options)
    await client.query(
      'INSERT INTO service_ops.schema_window (schema_version, oldest_code) VALUES (9001, 9000)',
    )
    await finds('schema', /serves releases from 9000 on/, options)
    await client.query('INSERT INTO service_ops.schema_window (schema_version, oldest_code) VALUES (9002, 1)')
    const newer = (await examined('schema', options)).findings.find(({ severity }) => severity === 'note')
    assert.match(newer?.seen ?? '', /a newer release has migrated/)
  })

  await t.test('a session that keeps the migration lock', async () => {
    await isSilent('migration_lock', options)
    const holder = await database.client()
    await holder.query(`SELECT pg_advisory_lock(hashtextextended('tidemark:migrate', 0))`)
    // One that has just begun may be a migration.
    await isSilent('migration_lock', options)
    const old = { ...options, limits: { oldTransactionMs: 0 } }
    await finds('migration_lock', /^pid \d+ .* holds the migration lock tidemark:migrate/, old)
    await holder.query('SELECT pg_advisory_unlock_all(), pg_advisory_lock(-8525285245963000605)')
    await finds('migration_lock', /^pid \d+ .* holds the migration lock postgres-migrations/, old)
  })

  await t.test('a task that no living instance has', async () => {
    await sql.query(
      `INSERT INTO service_ops.background_task (id, task_name, kind, led, config_hash, release, sources) VALUES
         (1, 'orders', 'poller', true, '', 'r7', NULL), (2, 'packing', 'processor', false, '', 'r7', '{orders}');
       INSERT INTO service_ops.runner_instance (instance_id, holder, release, state, tasks)
       VALUES ('alive', gen_random_uuid(), 'r8', 'ready', '{packing}')`,
    )
    await finds(
      'tasks',
      /^poller orders is in the config of no living instance \(release r7 had it last\)/,
      options,
    )
    // Whoever pauses it knows of it, for a day.
    await sql.query(
      `UPDATE service_ops.background_task SET paused = true, paused_by = 'ann' WHERE task_name = 'orders'`,
    )
    await isSilent('tasks', options)
    await finds('tasks', /^poller orders is paused for (\d\.\d s|\d+ ms) by ann/, {
      ...options,
      limits: { pausedMs: 0 },
    })
    await sql.query(`UPDATE service_ops.runner_instance SET state = 'stopped'`)
    const { status, findings } = await examined('tasks', options)
    assert.deepEqual(
      [status, findings.map(({ seen }) => seen)],
      ['ok', ['no instance runs on this database']],
    )
  })

  await t.test('a source that nobody processes', async () => {
    await isSilent('processing', options)
    const { pollers } = options.config
    await sql.query(`UPDATE service_ops.background_task SET sources = '{other}' WHERE task_name = 'packing'`)
    await finds('processing', /^no processor takes orders: its messages wait for ever/, {
      url,
      config: { ...(pollers && { pollers }) },
    })
    const insert = `INSERT INTO service_ops.integration_inbox (source, message_id, trace_id, status) VALUES`
    await sql.query(
      `${insert} ('orders', '1', 'x', 'NEW'), ('former', '1', 'x', 'NEW'), ('finished', '1', 'x', 'DONE')`,
    )
    await finds('processing', /^no processor takes former: the inbox has open messages of it/, options)
    await sql.query(`UPDATE service_ops.background_task SET sources = '{orders}' WHERE task_name = 'packing'`)
    await sql.query(`DELETE FROM service_ops.integration_inbox WHERE source = 'former'`)
    await isSilent('processing', options)
  })

  await t.test('messages that wait although they are due', async () => {
    await isSilent('messages', options)
    await sql.query(
      `UPDATE service_ops.integration_inbox SET created_at = now() - interval '20 min' WHERE source = 'orders'`,
    )
    await finds(
      'messages',
      /^1 messages of orders are due for up to 20 min( \d+ s)?, and packing has none in work/,
      options,
    )
  })

  await t.test('messages in work with an instance that is gone', async () => {
    await sql.query(
      `UPDATE service_ops.integration_inbox SET status = 'PROCESSING', claim = 1, locked_by = 'gone', locked_at = now() - interval '20 min'
        WHERE source = 'orders'`,
    )
    await finds(
      'messages',
      /^1 messages of orders .* are in work with gone, which is gone, for 20 min( \d+ s)?:/,
      options,
    )
    await sql.query(
      `INSERT INTO service_ops.runner_instance (instance_id, holder, release, state, tasks) VALUES ('gone', gen_random_uuid(), 'r', 'ready', '{}')`,
    )
    await isSilent('messages', options)
  })

  await t.test('messages that were given up are worth a note', async () => {
    await sql.query(
      `UPDATE service_ops.integration_inbox SET status = 'DEAD', locked_by = NULL, next_attempt_at = 'infinity' WHERE source = 'orders'`,
    )
    const { status, findings } = await examined('messages', options)
    assert.deepEqual(
      [status, findings.map(({ remedy }) => remedy)],
      ['ok', ['tidemark inbox list --source orders --status DEAD']],
    )
  })
})
