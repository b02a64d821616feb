import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { plainRole } from '../support/plainRole.ts'
import { configOf, examined, finds, findsAndMends, isSilent } from './patient.ts'

const ROWS = 12_000

test('an index for the cursor', async (t) => {
  const database = await createDatabase(t)
  const { url } = database
  const sql = database.pool()
  // Some ten megabytes: more than a page may read whole.
  await sql.query(
    `CREATE TABLE orders (id bigint PRIMARY KEY, created_at timestamptz NOT NULL DEFAULT now(), status text NOT NULL, filler text);
     ALTER TABLE orders ALTER COLUMN filler SET STORAGE PLAIN;
     INSERT INTO orders SELECT n, now() - n * interval '1 s', CASE WHEN n % 100 = 0 THEN 'ready' ELSE 'draft' END, repeat('x', 800)
       FROM generate_series(1, ${ROWS}) n`,
  )
  await sql.query('VACUUM ANALYZE orders')
  const options = { url, config: configOf('orders') }
  const drop = (name: string) => sql.query(`DROP INDEX ${name}`)
  const whole = String.raw`^orders: each page of a pass (reads and )?sorts public\.orders whole \(\d+ MB\): `

  await t.test('that is missing', async () => {
    await findsAndMends('cursor_index', new RegExp(`${whole}no index begins with created_at$`), options, sql)
    await drop('orders_created_at_id_idx')
  })

  await t.test('is not missed on a small table', async () => {
    await isSilent('cursor_index', { ...options, limits: { smallTableBytes: 2 ** 30 } })
  })

  await t.test('that begins with something else', async () => {
    await sql.query('CREATE INDEX other ON orders (status, created_at)')
    await finds('cursor_index', new RegExp(`${whole}the index public\\.other begins with status$`), options)
    await drop('other')
  })

  await t.test('that is an expression the page does not have', async () => {
    await sql.query(`CREATE INDEX other ON orders ((created_at AT TIME ZONE 'UTC'), id)`)
    await finds(
      'cursor_index',
      /the index public\.other begins with the expression .*(AT TIME ZONE|timezone\()/,
      options,
    )
    await drop('other')
  })

  await t.test('that has no order', async () => {
    await sql.query('CREATE INDEX other ON orders USING brin (created_at)')
    await finds('cursor_index', /the index public\.other is brin, which has no order/, options)
    await drop('other')
  })

  await t.test('that is invalid', async () => {
    await sql.query('CREATE INDEX cursor ON orders (created_at, id)')
    await isSilent('cursor_index', options)
    await sql.query(`UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'cursor'::regclass`)
    await findsAndMends(
      'cursor_index',
      new RegExp(`${whole}the index public\\.cursor is invalid$`),
      options,
      sql,
    )
    await drop('cursor')
  })

  await t.test('that is partial: by `where` it serves the pass, and not the sweep', async () => {
    const config = configOf('orders', { where: "status = 'ready'" })
    await sql.query(`CREATE INDEX other ON orders (created_at, id) WHERE status = 'ready'`)
    await finds(
      'cursor_index',
      /^orders: each page of a pass reads .* is partial \(WHERE \(status = 'ready'::text\)\)/,
      options,
    )
    const { remedy } = await finds('cursor_index', /^orders: each page of the sweep reads .* is partial/, {
      url,
      config,
    })
    await sql.query(remedy)
    await isSilent('cursor_index', { url, config })
    await sql.query('DROP INDEX other, orders_created_at_id_idx')
  })

  await t.test('of a view, by the table below it', async () => {
    await sql.query(`CREATE VIEW sent AS SELECT 'order ' || id AS id, created_at FROM orders`)
    const viewed = { url, config: configOf('sent') }
    await finds(
      'cursor_index',
      /reads and sorts public\.orders whole .*: no index of it serves the order of the view public\.sent/,
      viewed,
    )
    await sql.query(`CREATE INDEX other ON orders (created_at, ('order ' || id))`)
    await isSilent('cursor_index', viewed)
    await drop('other')
  })

  await t.test('that is there, and is not chosen', async () => {
    await sql.query('CREATE INDEX cursor ON orders (created_at, id)')
    await sql.query(`ALTER DATABASE ${database.name} SET enable_indexscan = off`)
    const found = await finds('cursor_index', /although it has an index that serves/, options)
    assert.deepEqual([found.severity, found.remedy], ['warning', 'ANALYZE public.orders'])
    await sql.query(`ALTER DATABASE ${database.name} RESET enable_indexscan`)
  })

  await t.test('is looked for by a role that may only read, too', async (t) => {
    const { role, url: plain } = await plainRole(t, database)
    await sql.query(
      `GRANT USAGE ON SCHEMA service_ops TO ${role}; GRANT SELECT ON ALL TABLES IN SCHEMA service_ops, public TO ${role}`,
    )
    await isSilent('cursor_index', { ...options, url: plain })
    await drop('cursor')
    assert.equal((await examined('cursor_index', { ...options, url: plain })).status, 'found')
  })
})
