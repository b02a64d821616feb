import assert from 'node:assert/strict'
import { test } from 'node:test'
import { tidemark } from '../cli/tidemark.ts'
import { createDatabase } from '../support/database.ts'
import { startInstance } from '../support/instance.ts'
import { until } from '../support/until.ts'

const CONFIG = `export default {
  pollers: { orders: { source: { table: 'orders', id: 'id', createdAt: 'at' }, every: '1s' } },
  processors: { packing: { from: 'orders', contract: 'external', maxAttempts: 3, backoff: { base: '10ms', max: '20ms' }, async handle({ payload }) {
    if (payload.what === 'fails') throw new RangeError('too far')
    await new Promise(() => {})
  } } },
}`

test('an instance without message_attempt goes on, names it once with its remedy, and leaves nothing in work when it drains', async (t) => {
  const database = await createDatabase(t)
  const sql = database.pool()
  await sql.query(
    'CREATE TABLE orders (id int PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp(), what text)',
  )
  const env = { DRAIN_TIMEOUT_SECONDS: '0' }
  const instance = await startInstance(t, { databaseUrl: database.url, config: CONFIG, env })
  await instance.said('ready')
  await sql.query('DROP TABLE service_ops.message_attempt')
  await sql.query(`INSERT INTO orders (id, what) VALUES (1, 'fails'), (2, 'hangs'), (3, 'fails')`)
  for (const id of ['1', '3']) await instance.said('message_dead', { message_id: id })
  const { msg } = await instance.said('table_missing', { table: 'service_ops.message_attempt' })
  assert.match(msg, /^CRITICAL: .*`tidemark migrate --repair`; work goes on meanwhile/)
  instance.kill('SIGTERM')
  assert.equal((await instance.exited).code, 0)
  assert.deepEqual(
    [
      instance.of('table_missing').length,
      instance.of('outcome_deferred'),
      instance.of('drain_completed')[0]?.['given_back'],
    ],
    [1, [], 1],
  )
  const { rows } = await sql.query(
    'SELECT status, attempts FROM service_ops.integration_inbox ORDER BY message_id',
  )
  assert.deepEqual(rows, [
    { status: 'DEAD', attempts: 3 },
    { status: 'NEW', attempts: 0 },
    { status: 'DEAD', attempts: 3 },
  ])
  const cli = (...args: string[]) =>
    tidemark(args, { env: { DATABASE_URL: database.url, LOG_LEVEL: 'critical' } })
  assert.equal((await cli('migrate', '--repair')).code, 0)
  await until('the story to be whole', async () => (await cli('verify')).code === 0)
})
