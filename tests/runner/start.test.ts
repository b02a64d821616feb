import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { describe, test } from 'node:test'
import type { TestContext } from 'node:test'
import type { Pool } from 'pg'
import { readSettings } from '../../src/config/settings.ts'
import type { TidemarkConfig } from '../../src/config/types.ts'
import { createRunner } from '../../src/runner.ts'
import { createLog } from '../../src/telemetry/log.ts'
import type { Log } from '../../src/telemetry/log.ts'
import { recordingLog } from '../process/fixture.ts'
import { createDatabase } from '../support/database.ts'
import type { TestDatabase } from '../support/database.ts'
import { programEnv } from '../support/programWay.ts'
import { until } from '../support/until.ts'

const INSTANCE = 'starter'

const CONFIG: TidemarkConfig = {
  pollers: { arrivals: { source: { table: 'arrival', id: 'id', createdAt: 'at' }, every: '1s' } },
  jobs: { sweep: { cron: '0 3 * * *', handle: () => undefined } },
}

async function world(t: TestContext) {
  const database = await createDatabase(t)
  const pool = database.pool()
  await pool.query(
    'CREATE TABLE arrival (id bigint PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp())',
  )
  return { database, pool }
}

interface Choices {
  readonly env?: Readonly<Record<string, string>>
  readonly prepare?: () => Promise<void>
  readonly log?: Log
  readonly config?: TidemarkConfig
}

function runnerOn(t: TestContext, database: TestDatabase, choices: Choices = {}) {
  const runner = createRunner(choices.config ?? CONFIG, {
    settings: readSettings({ ...programEnv(database.url), PORT: '0', HOST: '127.0.0.1', ...choices.env }),
    identity: { instanceId: INSTANCE, holder: randomUUID() },
    log: choices.log ?? createLog({ service: 'test', instanceId: INSTANCE, level: 'critical' }),
    async prepare() {
      await choices.prepare?.()
      return () => Promise.resolve()
    },
  })
  t.after(() => runner.stop())
  return runner
}

const BREAKS = {
  'before anything is registered': 'ALTER TABLE service_ops.background_task RENAME TO elsewhere',
  'when the queue runs already': `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not today'; END $$;
    CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON pgboss.schedule FOR EACH ROW EXECUTE FUNCTION refuse()`,
}

describe('a start that fails', () => {
  for (const [when, sql] of Object.entries(BREAKS)) {
    test(`${when} closes what it opened: no connection, no port, no living record`, async (t) => {
      const { database, pool } = await world(t)
      let address: string | undefined
      const { log, recorded } = recordingLog()
      const prepare = async () => {
        address = runner.address
        await pool.query(sql)
      }
      const runner = runnerOn(t, database, { prepare, log })
      await assert.rejects(runner.start(), /background_task|not today/)
      assert.ok(address !== undefined)
      await assert.rejects(fetch(`${address}/live`), 'it listens no longer')
      const backends = `SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'tidemark:%'`
      await until('its connections to end', async () => (await pool.query(backends)).rowCount === 0)
      const { rows } = await pool.query(
        'SELECT state FROM service_ops.runner_instance WHERE instance_id = $1',
        [INSTANCE],
      )
      assert.deepEqual(rows, [{ state: 'stopped' }])
      await Promise.all([runner.abort(), runner.stop()])
      assert.deepEqual(recorded.of('cleanup_failed'), [], 'what is closed is not closed again')
    })
  }
})

describe('a start whose queue meets a lock', () => {
  const busy = (table: string) => `
    CREATE FUNCTION busy() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'busy' USING ERRCODE = 'lock_not_available'; END $$;
    CREATE TRIGGER busy BEFORE INSERT ON ${table} FOR EACH ROW EXECUTE FUNCTION busy()`
  for (const [when, table] of [
    ['when it is half up', 'pgboss.queue'],
    ['when it is up, and its jobs are registered', 'pgboss.schedule'],
  ] as const) {
    test(`${when}, makes a new one, and leaves nothing of the first`, async (t) => {
      const { database, pool } = await world(t)
      const { log, recorded } = recordingLog()
      const prepare = async () => {
        await pool.query(busy(table))
      }
      const runner = runnerOn(t, database, { prepare, log })
      const started = runner.start()
      const line = await until('it to wait', () => recorded.of('start_waits')[0])
      assert.deepEqual([line.step, line.class], ['to start the queue', 'lock_timeout'])
      await pool.query(`DROP TRIGGER busy ON ${table}`)
      await started
      // The last thing that a connection says before it listens is to ask who serves it: one of ours, one of the queue's.
      const listens = `SELECT FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE '%AS since FROM pg_catalog.pg_stat_activity%'`
      await until('both to listen', async () => (await pool.query(listens)).rowCount === 2)
      assert.equal(recorded.of('start_waits').length, 1, 'said once')
    })
  }
})

test('a heartbeat that cannot be written when the parts run already does not end the start', async (t) => {
  const { database, pool } = await world(t)
  const { log, recorded } = recordingLog()
  const prepare = async () => {
    await pool.query(`
      CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not today'; END $$;
      CREATE TRIGGER refuse BEFORE UPDATE ON service_ops.runner_instance FOR EACH ROW WHEN (new.state = 'ready') EXECUTE FUNCTION refuse()`)
  }
  const runner = runnerOn(t, database, { prepare, log })
  await runner.start()
  assert.equal(recorded.of('ready').length, 1)
  assert.equal((await fetch(`${runner.address ?? ''}/ready`)).status, 200)
})

describe('a stop while it starts', () => {
  test('is a drain from the first moment on: never called ready, not by HTTP, not in its record', async (t) => {
    const { database, pool } = await world(t)
    const seen: unknown[] = []
    const { log: quiet, recorded } = recordingLog()
    const log: Log = {
      ...quiet,
      event(event, msg, fields) {
        quiet.event(event, msg, fields)
        if (event === 'task_started') void runner.stop('SIGTERM')
      },
    }
    const record = async () =>
      (await pool.query<{ state: string }>('SELECT state FROM service_ops.runner_instance')).rows
    const onShutdown = async () => {
      seen.push(await (await fetch(`${runner.address ?? ''}/ready`)).json(), await record())
    }
    const runner = runnerOn(t, database, { config: { ...CONFIG, onShutdown }, log })
    await runner.start()
    await runner.stop()
    assert.deepEqual(seen, [{ status: 'draining' }, [{ state: 'draining' }]])
    assert.deepEqual([...recorded.of('ready'), ...recorded.of('cleanup_failed')], [])
    assert.equal(recorded.of('drain_completed').length, 1)
    assert.deepEqual(await record(), [{ state: 'stopped' }])
  })

  test('before there is anything to drain closes what is open, once', async (t) => {
    const { database, pool } = await world(t)
    const { log, recorded } = recordingLog()
    const prepare = () => {
      void runner.stop('SIGTERM')
      return Promise.resolve()
    }
    const runner = runnerOn(t, database, { prepare, log })
    await assert.rejects(runner.start(), /stopped by SIGTERM before it was ready/)
    await runner.stop()
    assert.deepEqual(recorded.of('cleanup_failed'), [])
    const { rows } = await pool.query('SELECT state FROM service_ops.runner_instance')
    assert.deepEqual(rows, [{ state: 'stopped' }])
  })
})

describe('the mark of a source, where the look for its fresh messages begins,', () => {
  const marks = async (pool: Pool) =>
    (
      await pool.query<{ low: string }>(
        `SELECT low FROM service_ops.inbox_low_water WHERE source = 'arrivals'`,
      )
    ).rows
  const fill = (pool: Pool, source: string) =>
    pool.query(
      `INSERT INTO service_ops.integration_inbox (source, message_id, payload, trace_id)
       SELECT $1, n::text, '{}', n::text FROM generate_series(1, 100) n`,
      [source],
    )

  test('is, when it is new, the newest message of an inbox that others have filled', async (t) => {
    const { database, pool } = await world(t)
    await fill(pool, 'others')
    await runnerOn(t, database).start()
    assert.deepEqual(await marks(pool), [{ low: '100' }])
  })

  test('is left alone when the inbox has messages of it already', async (t) => {
    const { database, pool } = await world(t)
    await fill(pool, 'arrivals')
    await runnerOn(t, database).start()
    assert.deepEqual(await marks(pool), [])
  })
})
