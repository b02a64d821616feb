import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Pool } from '../../src/db/pool.ts'
import { createPool } from '../../src/db/pool.ts'
import { startDemo } from '../../src/demo/traffic.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import type { Scope } from '../support/scope.ts'
import { until } from '../support/until.ts'

function poolOf(scope: Scope, database: TestDatabase): Pool {
  const pool = createPool({
    url: database.url,
    applicationName: 'demo-test',
    connectTimeoutMs: 5_000,
    limits: { statementTimeoutMs: 30_000, lockTimeoutMs: 5_000, idleInTransactionMs: 10_000 },
    max: 10,
  })
  scope.after(() => pool.end())
  return pool
}

async function written(pool: Pool): Promise<number> {
  const { rows } = await pool.query<{ n: number }>(
    'SELECT count(*)::int AS n FROM service_ops.send_serviceops',
  )
  return rows[0]?.n ?? 0
}

describe('the demo’s traffic', () => {
  test('rolls some transactions back, as a gap in its ids shows, and gives every connection back', async (t) => {
    const database = await createDatabase(t)
    const pool = poolOf(t, database)
    const stop = await startDemo(pool, 200)
    await until('a row that never came', async () => {
      const { rows } = await pool.query<{ seen: boolean }>(
        `SELECT max(message_id) > count(*) AS seen FROM service_ops.send_serviceops`,
      )
      return rows[0]?.seen
    })
    await stop()
    assert.equal(pool.counts.idle, pool.counts.total, 'nothing is lent out any more')
  })

  test('comes from one of two that start at once, and from the other when that one leaves', async (t) => {
    const database = await createDatabase(t)
    const one = poolOf(t, database)
    const two = poolOf(t, database)
    const stops = await Promise.all([startDemo(one, 50), startDemo(two, 50)])
    await until('rows', async () => (await written(one)) > 5)
    const { rows } = await one.query<{ writers: number }>(
      `SELECT count(*)::int AS writers FROM pg_locks WHERE locktype = 'advisory' AND granted
          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
    )
    assert.equal(rows[0]?.writers, 1)
    await stops[0]()
    const before = await written(two)
    await until('more rows', async () => (await written(two)) > before)
    await stops[1]()
  })

  test('of rate 0 makes the tables and nothing else', async (t) => {
    const pool = poolOf(t, await createDatabase(t))
    await (
      await startDemo(pool, 0)
    )()
    assert.equal(await written(pool), 0)
  })
})
