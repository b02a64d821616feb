import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import type { TidemarkConfig } from '../../src/config/types.ts'
import { resolveConfig } from '../../src/config/validate.ts'
import { createPool } from '../../src/db/pool.ts'
import { enterLost, registerAll } from '../../src/runner/registration.ts'
import { takeOver } from '../../src/tables/leader.ts'
import { createLog } from '../../src/telemetry/log.ts'
import { createDatabase } from '../support/database.ts'

/* What becomes of numbers and starts when rows of background_task are lost. */

const LOG = createLog({ service: 'test', instanceId: 'test', level: 'critical' })

const source = (table: string) => ({ table, id: 'id', createdAt: 'at' })

const CONFIG: TidemarkConfig = {
  pollers: {
    first: { source: source('shop'), startFrom: 'now' },
    second: { source: source('shop'), startFrom: 'beginning' },
  },
  processors: { reader: { from: ['first', 'second'], contract: 'external', handle: () => undefined } },
  jobs: { sweep: { cron: '0 3 * * *', handle: () => undefined } },
}

const NUMBERS = [
  { id: 1, task_name: 'first' },
  { id: 2, task_name: 'second' },
  { id: 3, task_name: 'reader' },
  { id: 4, task_name: 'sweep' },
]

/** Tasks that were entered once, and pollers that were led. */
async function world(t: TestContext) {
  const database = await createDatabase(t)
  const sql = database.pool()
  await sql.query(`CREATE TABLE shop (id int, at timestamptz NOT NULL DEFAULT now());
                   INSERT INTO shop SELECT 1, '2020-01-01Z'`)
  const limits = { statementTimeoutMs: 5_000, lockTimeoutMs: 5_000, idleInTransactionMs: 5_000 }
  const pool = createPool({
    url: database.url,
    applicationName: 'test',
    connectTimeoutMs: 5_000,
    limits,
    max: 2,
  })
  t.after(() => pool.end())
  const config = resolveConfig(CONFIG)
  const registered = await registerAll(pool, config, '1', LOG)
  assert.deepEqual(registered.refused, [])
  for (const { name } of config.pollers)
    await takeOver(pool, name, { holder: randomUUID(), instanceId: 'one' }, 60_000, undefined)
  await sql.query(
    `UPDATE service_ops.integration_poll_watermark SET edge = '2024-05-06Z' WHERE poller = 'first'`,
  )
  const tasks = async (): Promise<unknown[]> =>
    (
      await sql.query<Record<string, unknown>>(
        'SELECT id, task_name FROM service_ops.background_task ORDER BY id',
      )
    ).rows
  assert.deepEqual(await tasks(), NUMBERS)
  return { sql, pool, config, registered, tasks }
}

test('pollers get their numbers back, whoever comes first, and the others follow in their order', async (t) => {
  const { sql, pool, registered, tasks } = await world(t)
  await sql.query('TRUNCATE service_ops.background_task')
  await enterLost(pool, { ...registered, pollers: [] }, '1')
  await enterLost(pool, { ...registered, processors: [], jobs: [] }, '1')
  assert.deepEqual(await tasks(), NUMBERS)
})

test('one that is known stays as it is, whatever an older release would write', async (t) => {
  const { sql, pool, registered, tasks } = await world(t)
  await sql.query(`DELETE FROM service_ops.background_task WHERE task_name = 'second';
                   UPDATE service_ops.background_task SET release = '2', paused = true`)
  await enterLost(pool, registered, '1')
  assert.deepEqual(await tasks(), NUMBERS)
  const { rows } = await sql.query(
    `SELECT task_name FROM service_ops.background_task WHERE release = '1' OR NOT paused`,
  )
  assert.deepEqual(rows, [{ task_name: 'second' }])
})

test('a poller goes on from where it was, not from where its config begins, also when its watermark is lost as well', async (t) => {
  const { sql, pool, registered } = await world(t)
  await sql.query(`INSERT INTO service_ops.poll_run (poller, due_at, started_at, outcome, term, instance_id, edge)
                   VALUES ('first', now(), now(), 'ran', 1, 'one', '2024-05-06Z');
                   TRUNCATE service_ops.background_task, service_ops.integration_poll_watermark,
                            service_ops.background_task_leader`)
  await enterLost(pool, registered, '1')
  const won = await takeOver(pool, 'first', { holder: randomUUID(), instanceId: 'two' }, 60_000, undefined)
  const { rows } = await sql.query(
    `SELECT edge = '2024-05-06Z' AS right FROM service_ops.integration_poll_watermark WHERE edge = $1::timestamptz`,
    [won?.edge],
  )
  assert.deepEqual([won?.created, rows], [true, [{ right: true }]])
})

test('a start after the loss asks no poller where to begin that has begun', async (t) => {
  const { sql, pool, config, tasks } = await world(t)
  await sql.query('TRUNCATE service_ops.background_task')
  const pollers = config.pollers.map((poller) => ({ ...poller, startFrom: null }))
  const { refused } = await registerAll(pool, { ...config, pollers }, '1', LOG)
  assert.deepEqual([refused, await tasks()], [[], NUMBERS])
})
