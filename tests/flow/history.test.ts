import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readHistory } from '../../src/tables/history.ts'
import { createDatabase } from '../support/database.ts'
import { startInstance } from '../support/instance.ts'
import { until } from '../support/until.ts'

/* Real processes: what the history has of what they did, and of what one did that was killed. */

const CONFIG = `export default {
  pollers: { orders: { source: { table: 'shop_orders', id: 'id', createdAt: 'created_at' }, every: '1s' } },
  processors: {
    packing: {
      from: 'orders',
      contract: 'external',
      maxAttempts: 2,
      backoff: { base: '10ms', max: '20ms' },
      handle(message) {
        if (message.payload.id % 10 === 0) throw new Error('no')
      },
    },
  },
}`

test('the history of two instances is what became of the messages; a kill loses a minute at most and doubles nothing', async (t) => {
  const database = await createDatabase(t, { migrated: false })
  const sql = database.pool()
  await sql.query(
    'CREATE TABLE shop_orders (id bigint PRIMARY KEY, created_at timestamptz NOT NULL DEFAULT now()); CREATE INDEX ON shop_orders (created_at, id)',
  )
  const [one, two] = await Promise.all(
    [0, 1].map(() => startInstance(t, { databaseUrl: database.url, config: CONFIG })),
  )
  assert.ok(one !== undefined && two !== undefined)
  await Promise.all([one.said('ready'), two.said('ready')])
  const write = (from: number, to: number) =>
    sql.query('INSERT INTO shop_orders (id) SELECT generate_series($1::int, $2::int)', [from, to])
  const finished = async (many: number): Promise<void> => {
    await until(`${many} to be finished`, async () => {
      const { rows } = await sql.query(
        `SELECT FROM service_ops.integration_inbox WHERE status IN ('DONE', 'DEAD') HAVING count(*) = $1`,
        [many],
      )
      return rows.length > 0
    })
  }
  const counted = async (): Promise<Record<string, number>> => {
    const points = await readHistory(sql, {
      from: new Date(Date.now() - 3_600_000),
      to: new Date(Date.now() + 3_600_000),
      stepMinutes: 600_000,
    })
    return Object.fromEntries(
      points.filter(({ key }) => key === 'orders').map(({ name, value }) => [name, value]),
    )
  }

  await write(1, 400)
  await finished(400)
  two.kill('SIGTERM')
  await two.exited
  const drained = await counted()
  const byTwo = drained['done'] ?? 0
  assert.ok(byTwo <= 360, 'what the other has counted it may not have written yet')

  const three = await startInstance(t, { databaseUrl: database.url, config: CONFIG })
  await three.said('ready')
  one.kill('SIGKILL')
  await one.exited
  await write(401, 800)
  await finished(800)
  three.kill('SIGTERM')
  await three.exited
  const { done = 0, failed = 0, dead = 0, ingested = 0, handler_p50: median = 1 } = await counted()
  assert.ok(done >= 360 && done <= 720, `${done} of 720 done, of which a killed one had its part`)
  assert.ok(dead >= 40 && dead <= 80, `${dead} of 80 dead`)
  assert.ok(failed >= 80 && failed <= 160, `${failed} of 160 attempts failed`)
  assert.ok(ingested >= 400 && ingested <= 800, `${ingested} of 800 taken in`)
  assert.ok(median < 1)
  const { rows } = await sql.query<{ key: string }>(
    `SELECT DISTINCT key FROM service_ops.history_minute WHERE name = 'flushed'`,
  )
  assert.ok(rows.some(({ key }) => key === three.id) && rows.some(({ key }) => key === two.id))
})

test('the duties sample the history, and roll it up', async (t) => {
  const database = await createDatabase(t)
  const sql = database.pool()
  await sql.query(
    `INSERT INTO service_ops.history_minute (at, name, key, value) SELECT now() - n * interval '1 hour', 'done', 'shop', 2 FROM generate_series(1, 20) n`,
  )
  await sql.query(
    'CREATE TABLE shop_orders (id bigint PRIMARY KEY, created_at timestamptz NOT NULL DEFAULT now()); CREATE INDEX ON shop_orders (created_at, id)',
  )
  const instance = await startInstance(t, { databaseUrl: database.url, config: CONFIG })
  await instance.said('ready')
  await until('a sample', async () => {
    const { rows } = await sql.query(
      `SELECT FROM service_ops.history_minute WHERE name = 'instances' AND key = 'ready' AND value = 1`,
    )
    return rows.length > 0
  })
  await until('steps of a day', async () => {
    const { rows } = await sql.query<{ done: number }>(
      `SELECT sum(value) AS done FROM service_ops.history_step WHERE minutes = 60 AND name = 'done' AND key = 'shop'`,
    )
    return rows[0]?.done === 40
  })
  const { rows } = await sql.query<{ in_s: number }>(
    `SELECT extract(epoch FROM start_after - date_trunc('minute', start_after))::float8 AS in_s
       FROM pgboss.job WHERE name = 'upkeep' AND singleton_key = 'history' AND state = 'created'`,
  )
  assert.ok(
    rows.every(({ in_s: seconds }) => seconds >= 3 && seconds < 8),
    JSON.stringify(rows),
  )
})
