import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { TidemarkConfig } from '../../src/config/types.ts'
import { setUp } from '../../src/runner/options.ts'
import type { Part } from '../../src/runner/options.ts'
import { createDatabase } from '../support/database.ts'
import { startInstance } from '../support/instance.ts'
import type { Instance } from '../support/instance.ts'
import { until } from '../support/until.ts'

/* Process groups: each instance runs the parts that it was started with, and together they are whole. */

const CONFIG = `
  export default {
    pollers: { arrivals: { source: { table: 'arrival', id: 'id', createdAt: 'at' }, every: '1s' } },
    processors: {
      reader: {
        from: 'arrivals', contract: 'transactional', exclusive: true,
        async handle(message, { tx }) { await tx.query('INSERT INTO handled VALUES ($1)', [message.messageId]) },
      },
    },
    jobs: { digest: { cron: '0 3 1 1 *', handle() {} } },
  }`

test('instances of one part each do the whole work together, and none does another’s', async (t) => {
  const database = await createDatabase(t)
  const sql = database.pool()
  await sql.query(`CREATE TABLE arrival (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz NOT NULL DEFAULT now());
                   CREATE TABLE handled (id text PRIMARY KEY)`)
  const start = async (only: string): Promise<Instance> => {
    const instance = await startInstance(t, { databaseUrl: database.url, config: CONFIG, only })
    await instance.said('ready')
    return instance
  }
  const [pollers, processors] = [await start('pollers'), await start('processors')]
  await sql.query('INSERT INTO arrival DEFAULT VALUES')
  await until('the row to be handled', async () => (await sql.query('SELECT FROM handled')).rowCount === 1)
  const { rows: orphans } = await sql.query('SELECT task_name FROM service_ops.task_status WHERE orphaned')
  // Nobody has entered the job yet: it is no task before some instance has it.
  assert.deepEqual(orphans, [])
  const jobs = await start('jobs')
  const leads = [pollers, processors, jobs].map((one) =>
    one.of('task_started_as_leader').map(({ task }) => task),
  )
  assert.deepEqual(leads, [['arrivals'], ['reader'], []])
  const { rows } = await sql.query(
    'SELECT task_name, instances FROM service_ops.task_status ORDER BY task_name',
  )
  assert.deepEqual(rows, [
    { task_name: 'arrivals', instances: [pollers.id] },
    { task_name: 'digest', instances: [jobs.id] },
    { task_name: 'reader', instances: [processors.id] },
  ])
  for (const one of [pollers, processors, jobs]) {
    const health = (await (await fetch(`${one.address}/health`)).json()) as {
      status: string
      features: string[]
    }
    assert.equal(health.status, 'healthy', JSON.stringify(health))
  }
})

test('with OPS_PORT a running instance answers operators there, and there alone', async (t) => {
  const database = await createDatabase(t)
  await database
    .pool()
    .query('CREATE TABLE arrival (id bigint PRIMARY KEY, at timestamptz NOT NULL DEFAULT now())')
  const token = 'operators-may-do-this'
  const env = { ADMIN_TOKEN: token, OPS_PORT: '0' }
  const instance = await startInstance(t, { databaseUrl: database.url, config: CONFIG, env })
  await instance.said('ready')
  const [main, ops] = instance.of('http_listening').map(({ address }) => String(address))
  assert.ok(main !== undefined && ops !== undefined)
  assert.equal(instance.of('ready')[0]?.['address'], main)
  const headers = { Authorization: `Bearer ${token}` }
  const status = async (address: string, path: string, method = 'GET'): Promise<number> =>
    (await fetch(`${address}${path}`, { method, headers })).status
  for (const path of ['/live', '/ready', '/health']) {
    assert.deepEqual([await status(main, path), await status(ops, path)], [200, 200], path)
  }
  for (const path of ['/', '/status']) {
    assert.deepEqual([await status(main, path), await status(ops, path)], [404, 200], path)
  }
  const pause = '/admin/tasks/digest/pause'
  assert.deepEqual([await status(main, pause, 'POST'), await status(ops, pause, 'POST')], [404, 202])
  instance.kill('SIGTERM')
  assert.equal((await instance.exited).code, 0)
})

describe('an instance started with --only', () => {
  const source = { table: 's', id: 'id', createdAt: 'at' }
  const config: TidemarkConfig = {
    intakes: { intake: {} },
    pollers: { pollers: { source } },
    processors: {
      processors: { from: ['pollers', 'intake'], contract: 'external', handle: () => undefined },
    },
    jobs: { jobs: { cron: '* * * * *', handle: () => undefined } },
  }
  const parts: readonly Part[] = ['intake', 'pollers', 'processors', 'jobs']
  for (let bits = 1; bits < 1 << parts.length; bits += 1) {
    const only = parts.filter((_, i) => (bits & (1 << i)) !== 0)
    test(`${only.join(', ')} has the tasks of those parts and no others`, async () => {
      const { config: own, parts: features, log } = setUp(config, { only })
      await log.close()
      const tasks = [...own.intakes, ...own.pollers, ...own.processors, ...own.jobs].map(({ name }) => name)
      assert.deepEqual([tasks, features], [only, only])
    })
  }
})
