import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import { readSettings } from '../../src/config/settings.ts'
import { createRunner } from '../../src/runner.ts'
import { recordingLog } from '../process/fixture.ts'
import { createDatabase } from '../support/database.ts'
import { programEnv, skipAsRunner } from '../support/programWay.ts'
import { until } from '../support/until.ts'

const owners = skipAsRunner('it migrates as it starts, which is the owner’s')

test(
  'a release whose file meets a transaction stays up, says whose it is, and is ready once that has ended',
  { skip: owners },
  async (t) => {
    const database = await createDatabase(t)
    const client = await database.client()
    await client.query(`
    CREATE TABLE arrival (id bigint PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp());
    DELETE FROM service_ops.migrations WHERE id >= 6;
    DELETE FROM service_ops.schema_window WHERE schema_version >= 6;
    ALTER TABLE service_ops.integration_inbox DROP COLUMN suspect CASCADE, DROP COLUMN interruptions_in_a_row CASCADE`)
    const person = await database.client()
    await person.query(`
    SET application_name = 'a person';
    BEGIN; INSERT INTO service_ops.integration_inbox (source, message_id, trace_id) VALUES ('s', '1', 't')`)
    const { log, recorded } = recordingLog()
    const env = {
      ...programEnv(database.url),
      PORT: '0',
      HOST: '127.0.0.1',
      MIGRATION_LOCK_WAIT_SECONDS: '0',
    }
    const runner = createRunner(
      { pollers: { arrivals: { source: { table: 'arrival', id: 'id', createdAt: 'at' }, every: '1s' } } },
      { settings: readSettings(env), identity: { instanceId: 'green', holder: randomUUID() }, log },
    )
    t.after(() => runner.stop())
    const started = runner.start()
    const ready = async () => (await fetch(`${runner.address ?? ''}/ready`)).status
    await until('it to go on without', () => recorded.of('schema_incompatible').length === 1)
    const [busy] = recorded.of('migration_lock_busy')
    assert.deepEqual([busy?.table, busy?.application], ['service_ops.integration_inbox', 'a person'])
    assert.deepEqual(recorded.of('migrations_skipped'), [{ reason: 'lock busy' }])
    assert.equal(await ready(), 503)
    await person.query('ROLLBACK')
    await started
    assert.equal(await ready(), 200)
    assert.deepEqual(recorded.of('migration_failed'), [])
  },
)
