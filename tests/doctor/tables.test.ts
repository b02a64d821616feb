import { test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { until } from '../support/until.ts'
import { configOf, examined, finds, findsAndMends, isSilent } from './patient.ts'

test('what slows the tables down', async (t) => {
  const database = await createDatabase(t)
  const { url } = database
  const sql = database.pool()
  await sql.query(
    `CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, created_at timestamptz NOT NULL DEFAULT now(), item text)`,
  )
  const config = configOf('orders')
  const options = { url, config }

  await t.test('autovacuum that is off for a table, of Tidemark’s or a source', async () => {
    await isSilent('vacuum', options)
    for (const table of ['service_ops.integration_poll_watermark', 'public.orders']) {
      await sql.query(`ALTER TABLE ${table} SET (autovacuum_enabled = off)`)
      await findsAndMends('vacuum', new RegExp(`autovacuum is off for ${table}`), options, sql)
    }
  })

  await t.test('dead rows that vacuum has left', async (t) => {
    await sql.query('ALTER TABLE orders SET (autovacuum_enabled = off)')
    const writer = await database.client()
    await writer.query('INSERT INTO orders (item) SELECT n FROM generate_series(1, 100) n')
    await writer.query('UPDATE orders SET item = 0')
    // A session reports what it did when it ends, at the latest.
    await writer.end()
    const limited = { ...options, limits: { deadRows: 50 } }
    const found = async () =>
      (await examined('vacuum', limited)).findings.find(({ seen }) =>
        /public\.orders has 100 dead rows beside 100 living/.test(seen),
      )
    // Sessions report what they did when they are done.
    const { remedy } = await until('the dead rows to be counted', found)
    const client = await database.client()
    await client.query(remedy)
    await until('none to be counted', async () => (await found()) === undefined)
    await sql.query('ALTER TABLE orders RESET (autovacuum_enabled)')
    await isSilent('vacuum', options)
    t.diagnostic(remedy)
  })

  await t.test('numbers of transactions that run out', async () => {
    await isSilent('wraparound', { url })
    await finds('wraparound', /the oldest transaction number is \d+ behind, of 2 billion/, {
      url,
      limits: { oldXids: 0 },
    })
  })

  await t.test('an index that a failed CREATE INDEX CONCURRENTLY left behind', async () => {
    await isSilent('invalid_indexes', options)
    await sql.query(`INSERT INTO orders (item) VALUES ('twice'), ('twice')`)
    await sql.query('CREATE UNIQUE INDEX CONCURRENTLY once ON orders (item)').catch(() => undefined)
    await sql.query('TRUNCATE orders')
    await findsAndMends(
      'invalid_indexes',
      /the index public\.once of public\.orders is invalid/,
      options,
      sql,
    )
  })

  await t.test('an index of the inbox that mentions what every claim changes', async () => {
    await isSilent('hot_updates', options)
    for (const [definition, columns] of [
      ['(status)', 'status'],
      ['(inbox_id) WHERE locked_by IS NULL', 'locked_by'],
      ['((attempts + claim))', 'attempts, claim'],
    ]) {
      await sql.query(`CREATE INDEX mine ON service_ops.integration_inbox ${definition}`)
      await findsAndMends('hot_updates', new RegExp(`service_ops\\.mine mentions ${columns}:`), options, sql)
    }
  })

  await t.test('pages of the inbox without room for an outcome', async () => {
    await sql.query('ALTER TABLE service_ops.integration_inbox SET (fillfactor = 100)')
    await findsAndMends('hot_updates', /integration_inbox are filled to 100 %/, options, sql)
  })
})
