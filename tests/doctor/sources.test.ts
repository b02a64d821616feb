import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { plainRole } from '../support/plainRole.ts'
import { wantedMajor } from '../support/postgres.ts'
import { configOf, examined, finds, findsAndMends, isSilent } from './patient.ts'

const COLUMNS = 'id bigint PRIMARY KEY, created_at timestamptz NOT NULL DEFAULT now()'

test('what is wrong with a source', async (t) => {
  const database = await createDatabase(t)
  const { url } = database
  const sql = database.pool()
  await sql.query(`CREATE TABLE orders (${COLUMNS})`)
  const fresh = { url, config: configOf('orders') }
  const begun = async (table: string, edge: string) => {
    await sql.query(
      'DELETE FROM service_ops.integration_poll_watermark; DELETE FROM service_ops.background_task',
    )
    await sql.query(
      `INSERT INTO service_ops.background_task (id, task_name, kind, led, config_hash, release, source_table, source_columns)
       VALUES (1, 'orders', 'poller', true, '', '', $1, '{"id": "\\"id\\"", "created_at": "s.\\"created_at\\"", "where": "true"}')`,
      [table],
    )
    await sql.query(
      `INSERT INTO service_ops.integration_poll_watermark (id, poller, edge, holder, term, pass)
       VALUES (1, 'orders', $1, gen_random_uuid(), 1, 1)`,
      [edge],
    )
  }

  await t.test('none at all', async () => {
    await finds('sources', /^orders does not start: source nowhere: there is no such table/, {
      url,
      config: configOf('nowhere'),
    })
    const { status, findings } = await examined('source_times', { url, config: configOf('nowhere') })
    assert.deepEqual([status, findings.map(({ severity }) => severity)], ['found', ['unseen']])
  })

  await t.test('a right that is missing, with its GRANT', async (t) => {
    const { role, url: plain } = await plainRole(t, database)
    // What is known of the poller is looked at, too.
    await sql.query(
      `GRANT USAGE ON SCHEMA service_ops TO ${role}; GRANT SELECT ON ALL TABLES IN SCHEMA service_ops TO ${role}`,
    )
    await findsAndMends('sources', /lacks rights on table public\.orders$/, { ...fresh, url: plain }, sql)
  })

  await t.test('row-level security, on the table or below a view', async (t) => {
    const { role, url: plain } = await plainRole(t, database)
    await sql.query(
      `CREATE TABLE hidden (${COLUMNS}); ALTER TABLE hidden ENABLE ROW LEVEL SECURITY; CREATE VIEW seen AS SELECT * FROM hidden;
       GRANT USAGE ON SCHEMA service_ops TO ${role};
       GRANT SELECT ON ALL TABLES IN SCHEMA public, service_ops TO ${role}`,
    )
    const of = (table: string) => ({ url: plain, config: configOf(table) })
    await finds('sources', /row-level security may hide rows from this role/, of('hidden'))
    // Read as its owner, to whom the policies do not apply.
    await isSilent('sources', of('seen'))
    let remedy = `ALTER ROLE ${role} BYPASSRLS`
    if (wantedMajor() >= 15) {
      await sql.query(
        `CREATE VIEW seen_by_me WITH (security_invoker = true) AS SELECT * FROM hidden; GRANT SELECT ON seen_by_me TO ${role}`,
      )
      const found = await finds(
        'sources',
        new RegExp(`row-level security of public\\.hidden may hide rows from ${role}`),
        of('seen_by_me'),
      )
      remedy = found.remedy
    }
    await sql.query(remedy.split(';')[0] ?? '')
    if (wantedMajor() >= 15) await isSilent('sources', of('seen_by_me'))
    await isSilent('sources', of('hidden'))
    await sql.query(`ALTER ROLE ${role} NOBYPASSRLS; ALTER TABLE hidden OWNER TO ${role}`)
    await isSilent('sources', of('hidden'))
    await sql.query('ALTER TABLE hidden FORCE ROW LEVEL SECURITY')
    await finds('sources', /row-level security may hide rows from this role/, of('hidden'))
    await sql.query('ALTER TABLE hidden OWNER TO CURRENT_USER')
  })

  await t.test('another table under the same name of the poller', async () => {
    await begun('public.former', '-infinity')
    await finds(
      'sources',
      /orders reads public\.orders .* and its watermark was made for public\.former/,
      fresh,
    )
    await begun('public.orders', '-infinity')
    await isSilent('sources', fresh)
  })

  await t.test('times that clients set', async () => {
    await isSilent('source_times', fresh)
    await sql.query('ALTER TABLE orders ALTER COLUMN created_at DROP DEFAULT')
    const { remedy } = await finds(
      'source_times',
      /created_at has no default.*: the edge stays 10 min back/,
      fresh,
    )
    await isSilent('source_times', { url, config: configOf('orders', { lateness: '10m' }) })
    await finds('source_times', /has no default.*, and lateness is 0 ms/, {
      url,
      config: configOf('orders', { lateness: 0 }),
    })
    await sql.query(remedy.split(',')[0] ?? '')
    await isSilent('source_times', fresh)
  })

  await t.test('rows without a time', async () => {
    await sql.query(
      'ALTER TABLE orders ALTER COLUMN created_at DROP NOT NULL; INSERT INTO orders VALUES (1, NULL)',
    )
    await finds('source_times', /1 rows of orders have no created_at/, fresh)
    await sql.query('TRUNCATE orders; ALTER TABLE orders ALTER COLUMN created_at SET NOT NULL')
  })

  await t.test('rows of the future', async () => {
    await sql.query(`INSERT INTO orders VALUES (1, '2099-01-01Z'), (2, now() + interval '1 min')`)
    await finds(
      'source_times',
      /1 rows of public\.orders are dated in the future, the last 2099-01-01/,
      fresh,
    )
    await sql.query('TRUNCATE orders')
  })

  await t.test('rows without an id', async () => {
    await sql.query(
      'CREATE TABLE nameless (id bigint, created_at timestamptz NOT NULL DEFAULT now()); INSERT INTO nameless VALUES (NULL)',
    )
    await finds('source_times', /1 of the newest rows of nameless have no id/, {
      url,
      config: configOf('nameless'),
    })
  })

  await t.test('a new poller that is not told where to begin', async () => {
    await sql.query(
      'DELETE FROM service_ops.integration_poll_watermark; DELETE FROM service_ops.background_task',
    )
    await sql.query(`INSERT INTO orders VALUES (1, now() - interval '9 days'), (2, now())`)
    await finds(
      'source_backlog',
      /orders does not start: 1 rows of public\.orders are older than retention \(7 d\)/,
      fresh,
    )
    await isSilent('source_backlog', { url, config: configOf('orders', {}, { startFrom: 'beginning' }) })
  })

  await t.test('a row that waits for longer than retention', async () => {
    await begun('public.orders', '-infinity')
    const { remedy } = await finds(
      'source_backlog',
      /waits to be taken in for 9 d, longer than retention \(7 d\)/,
      fresh,
    )
    assert.match(remedy, /^retention: '19d' in pollers\.orders/)
    await sql.query(
      `INSERT INTO service_ops.integration_inbox (source, message_id, trace_id) VALUES ('orders', '1', 'x')`,
    )
    await isSilent('source_backlog', fresh)
  })
})
