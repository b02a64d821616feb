import assert from 'node:assert/strict'
import { test } from 'node:test'
import { tidemark } from '../cli/tidemark.ts'
import { createDatabase } from '../support/database.ts'
import { startInstance } from '../support/instance.ts'
import { grants, plainRole } from '../support/plainRole.ts'
import { until } from '../support/until.ts'

test('rights that are revoked while it runs are named with their GRANT, once; work goes on by itself with them', async (t) => {
  const database = await createDatabase(t)
  const sql = database.pool()
  assert.equal((await tidemark(['migrate'], { env: { DATABASE_URL: database.url } })).code, 0)
  const { role, url } = await plainRole(t, database)
  await sql.query(`
    ${grants(role, 'service_ops', 'pgboss')}
    CREATE SCHEMA shop; CREATE TABLE shop.orders (id int PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp());
    GRANT USAGE ON SCHEMA shop TO ${role}; GRANT SELECT ON shop.orders TO ${role}`)
  const instance = await startInstance(t, {
    databaseUrl: url,
    env: { RUN_MIGRATIONS: '0' },
    config: `export default {
      pollers: { orders: { source: { table: 'shop.orders', id: 'id', createdAt: 'at' }, every: '1s' } },
      processors: { reader: { from: 'orders', contract: 'external', handle() {} } },
      jobs: { nightly: { cron: '0 3 * * *', handle() {} } } }`,
  })
  await instance.said('task_started_as_leader')
  let last = 0
  const another = async (): Promise<void> => {
    last += 1
    await sql.query('INSERT INTO shop.orders VALUES ($1)', [last])
    await until(
      `message ${last} to be done`,
      () => instance.of('message_done', { message_id: String(last) })[0],
    )
  }
  await another()

  await sql.query(`REVOKE SELECT ON shop.orders FROM ${role}`)
  const source = await instance.said('poll_failed')
  assert.match(
    String(source['text']),
    new RegExp(
      `role ${role} lacks rights on table shop\\.orders. Remedy: GRANT SELECT ON shop\\.orders TO ${role}$`,
    ),
  )
  await sql.query(String(source['text']).split('Remedy: ')[1] ?? '')
  await another()
  assert.deepEqual(instance.of('permission_missing'), [])

  for (const [revoke, object] of [
    ['USAGE ON SCHEMA pgboss', 'schema pgboss'],
    ['UPDATE ON service_ops.integration_poll_watermark', 'table service_ops.integration_poll_watermark'],
    ['USAGE ON SCHEMA service_ops', 'schema service_ops'],
  ] as const) {
    await sql.query(`REVOKE ${revoke} FROM ${role}`)
    const line = await until(object, () =>
      instance.of('permission_missing').find(({ objects }) => String(objects) === object),
    )
    assert.match(
      line.msg,
      new RegExp(
        `^CRITICAL: role ${role} lacks rights on ${object}. Remedy: GRANT .* TO ${role}; work goes on`,
      ),
    )
    if (object === 'schema pgboss') {
      const detail = await until('pg-boss to fail', async () => {
        const { checks } = (await (await fetch(`${instance.address}/health`)).json()) as {
          checks: { queue: { detail: string } }
        }
        return checks.queue.detail.includes('reported an error') && checks.queue.detail
      })
      assert.doesNotMatch(detail, /permission|denied|schema/)
    }
    const backs = instance.of('permission_back').length
    await sql.query((line['grants'] as string[]).join(';'))
    await until('to be told that it is given', () => instance.of('permission_back').length > backs)
    await another()
  }
  assert.equal(instance.of('permission_missing').length, 3)
  assert.deepEqual(instance.other, [])
})
