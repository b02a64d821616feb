import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { readSettings } from '../../src/config/settings.ts'
import { migrate } from '../../src/db/migrate.ts'
import { createRunner } from '../../src/runner.ts'
import { recordingLog } from '../process/fixture.ts'
import { createDatabase } from '../support/database.ts'
import { programEnv } from '../support/programWay.ts'
import { until } from '../support/until.ts'

const COLUMN = 'service_ops.integration_inbox.suspect'

async function world(t: TestContext) {
  const { url, ...database } = await createDatabase(t)
  const pool = database.pool()
  await pool.query(
    'CREATE TABLE arrival (id bigint PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp())',
  )
  const { log, recorded } = recordingLog()
  const runner = createRunner(
    {
      pollers: { arrivals: { source: { table: 'arrival', id: 'id', createdAt: 'at' }, every: '1s' } },
      processors: { reader: { from: 'arrivals', contract: 'external', handle: () => undefined } },
    },
    {
      settings: readSettings({ ...programEnv(url), PORT: '0', HOST: '127.0.0.1' }),
      identity: { instanceId: 'one', holder: randomUUID() },
      log,
    },
  )
  t.after(() => runner.stop())
  const drop = () => pool.query('ALTER TABLE service_ops.integration_inbox DROP COLUMN suspect CASCADE')
  const repair = () =>
    migrate({ url, log: recordingLog().log, lockWaitMs: 20_000, statementTimeoutMs: 20_000, repair: true })
  const ready = async () => (await fetch(`${runner.address ?? ''}/ready`)).status
  const works = async () => {
    await pool.query('INSERT INTO arrival VALUES (1)')
    await until('its message to be done', () => recorded.of('message_done').length === 1)
  }
  return { runner, recorded, drop, repair, ready, works }
}

test('an instance that starts without a column says which, is not ready, and goes on after the repair', async (t) => {
  const { runner, recorded, drop, repair, ready, works } = await world(t)
  await drop()
  const started = runner.start()
  const line = await until('the column to be named', () => recorded.of('table_missing')[0])
  assert.deepEqual([line.table, line.command], [COLUMN, 'tidemark migrate --repair'])
  assert.equal(await ready(), 503)
  await repair()
  await started
  assert.equal(await ready(), 200)
  assert.equal(recorded.of('table_missing').length, 1, 'said once')
  await works()
})

test('a column that is lost while it runs is named, and work goes on after the repair', async (t) => {
  const { runner, recorded, drop, repair, ready, works } = await world(t)
  await runner.start()
  await drop()
  const line = await until('the column to be named', () => recorded.of('table_missing')[0])
  assert.equal(line.table, COLUMN)
  assert.equal(await ready(), 503)
  await repair()
  await until('it to be there', () => recorded.of('table_back').length === 1)
  assert.equal(await ready(), 200)
  await works()
})
