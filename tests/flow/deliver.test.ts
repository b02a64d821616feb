import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { TestContext } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { startInstance } from '../support/instance.ts'
import { receiver } from '../support/receiver.ts'
import { until } from '../support/until.ts'

/** A table, a poller, and a processor that delivers what it brings. */
const CONFIG = `
export default {
  pollers: { orders: { source: { table: 'orders', id: 'id', createdAt: 'at', payload: 'body' }, every: '1s' } },
  processors: { hook: { from: 'orders', deliver: { url: process.env.HOOK, secret: process.env.HOOK_SECRET, timeout: '50s' } } },
}`

async function world(t: TestContext) {
  const database = await createDatabase(t)
  const pool = database.pool()
  await pool.query(
    `CREATE TABLE orders (id text PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp(), body jsonb)`,
  )
  const target = await receiver(t)
  return {
    target,
    start: async (env: Record<string, string> = {}) => {
      const secrets = { HOOK: target.url, HOOK_SECRET: target.secret }
      const instance = await startInstance(t, {
        databaseUrl: database.url,
        config: CONFIG,
        env: { ...secrets, ...env },
      })
      await instance.said('ready')
      return instance
    },
    write: (...ids: string[]) =>
      pool.query(`INSERT INTO orders SELECT u, clock_timestamp(), '{}' FROM unnest($1::text[]) u`, [ids]),
    /** \`DONE 1 +2\`: status, attempts, interruptions. */
    fates: async () => {
      const { rows } = await pool.query<{ id: string; fate: string }>(
        `SELECT message_id AS id, format('%s %s +%s', status, attempts, interruptions) AS fate
           FROM service_ops.integration_inbox ORDER BY message_id`,
      )
      return Object.fromEntries(rows.map(({ id, fate }) => [id, fate]))
    },
    pool,
  }
}

describe('a delivery under way', () => {
  test('in a process that is killed is made again under the same id', async (t) => {
    const { target, start, write, fates } = await world(t)
    const doomed = await start()
    target.react(() => () => undefined) // no answer
    await write('a')
    await until('the delivery to arrive', () => target.arrivals.length === 1)
    target.react(() => 200)
    doomed.kill('SIGKILL')
    await doomed.exited
    const other = await start()
    await until('it to be done', async () => (await fates())['a'] === 'DONE 2 +0', 60_000)
    const [first, second, third] = target.arrivals
    assert.ok(first !== undefined && second !== undefined && third === undefined)
    assert.equal(first.id, second.id)
    assert.notEqual(first.headers['webhook-signature'], undefined)
    assert.deepEqual(second.payload, first.payload)
    await other.said('message_done', { message_id: 'a' }) // it is said after it is written
  })

  test('at a drain is given back unburned, and another instance makes it', async (t) => {
    const { target, start, write, fates } = await world(t)
    const leaving = await start({ DRAIN_TIMEOUT_SECONDS: '1' })
    let hungUp = false
    target.react(() => (answer) => answer.on('close', () => (hungUp = true)))
    await write('a')
    await until('the delivery to arrive', () => target.arrivals.length === 1)
    target.react(() => 200)
    leaving.kill('SIGTERM')
    assert.equal((await leaving.exited).code, 0)
    assert.deepEqual(await fates(), { a: 'NEW 0 +1' })
    assert.ok(hungUp, 'the request was ended')
    await start()
    await until('it to be done', async () => (await fates())['a'] === 'DONE 1 +1', 60_000)
    assert.deepEqual(new Set(target.arrivals.map(({ id }) => id)).size, 1)
    assert.equal(target.arrivals.length, 2)
  })
})

test('a target that is away is said, shown, and no loss', async (t) => {
  const { target, start, write, fates, pool } = await world(t)
  await target.close()
  const instance = await start()
  await write(...Array.from({ length: 12 }, (_, i) => `m${i}`))
  const opened = await instance.said('circuit_opened')
  const { origin } = new URL(target.url)
  assert.deepEqual([opened['target'], opened['class'], opened['level']], [origin, 'ECONNREFUSED', 'warn'])

  const health = (await (await fetch(`${instance.address}/health`)).json()) as {
    status: string
    checks: { processors: { status: string; circuits_open: string[] } }
  }
  assert.deepEqual([health.status, health.checks.processors.status], ['degraded', 'degraded'])
  // By the name of its processor: where it sends to is nobody's business who may only ask for health.
  assert.deepEqual(health.checks.processors.circuits_open, ['hook'])
  assert.ok(!JSON.stringify(health).includes(origin))
  const shown = await until('the status to show it', async () => {
    const { rows } = await pool.query<Record<string, string>>(
      'SELECT target, instance_id, class FROM service_ops.circuit_status',
    )
    return rows[0]
  })
  assert.deepEqual(shown, { target: origin, instance_id: instance.id, class: 'ECONNREFUSED' })
  const status = (await (await fetch(`${instance.address}/status`)).json()) as {
    circuits: { target: string }[]
  }
  assert.deepEqual(
    status.circuits.map((one) => one.target),
    [origin],
  )

  await target.open()
  await instance.said('circuit_closed')
  await until(
    'all to be done',
    async () => Object.values(await fates()).every((fate) => fate.startsWith('DONE 1 ')),
    120_000,
  )
  await until('the status to show it no more', async () => {
    const { rowCount } = await pool.query('SELECT FROM service_ops.circuit_status')
    return rowCount === 0
  })
  const well = (await (await fetch(`${instance.address}/health`)).json()) as { status: string }
  assert.equal(well.status, 'healthy')
  assert.doesNotMatch(JSON.stringify(instance.lines), /hooks|hidden|whsec_/)
})
