import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Client } from 'pg'
import { tidemark } from '../cli/tidemark.ts'
import { createDatabase } from '../support/database.ts'
import { startInstance } from '../support/instance.ts'
import { wantedMajor } from '../support/postgres.ts'

const CONFIG = `export default {
  pollers: { arrivals: { source: { table: 'arrival', id: 'id', createdAt: 'at' }, every: '1s' } },
}`

test('a database that is not UTF8 is refused with what it is and the remedy, and nothing is made in it', async (t) => {
  const database = await createDatabase(t, { migrated: false })
  const latin = `${database.name}_latin`
  const admin = database.pool()
  await admin.query(
    // Before 15 there is no other provider.
    `CREATE DATABASE ${latin} TEMPLATE template0 ENCODING 'LATIN1' ${wantedMajor() < 15 ? '' : 'LOCALE_PROVIDER libc'} LOCALE 'C'`,
  )
  t.after(() => admin.query(`DROP DATABASE ${latin} WITH (FORCE)`))
  const address = new URL(database.url)
  address.pathname = `/${latin}`
  const refusal = new RegExp(`the database ${latin} .*LATIN1.*: createdb --encoding UTF8 `)

  const instance = await startInstance(t, { databaseUrl: address.href, config: CONFIG })
  assert.equal((await instance.exited).code, 1)
  assert.match(instance.of('start_failed')[0]?.msg ?? '', refusal)
  const migrate = await tidemark(['migrate'], {
    env: { DATABASE_URL: address.href, LOG_LEVEL: 'critical' },
  })
  assert.equal(migrate.code, 1)
  assert.match(migrate.stderr, refusal)

  const client = new Client({ connectionString: address.href })
  await client.connect()
  const { rows } = await client.query(`SELECT to_regnamespace('service_ops') AS ours`)
  await client.end()
  assert.deepEqual(rows, [{ ours: null }])
})
