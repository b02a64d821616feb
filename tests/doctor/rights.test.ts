import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { plainRole } from '../support/plainRole.ts'
import { configOf, examined, finds, findsAndMends, isSilent } from './patient.ts'

/** What says so much is for another test. */
const NO_MIGRATIONS = { RUN_MIGRATIONS: '0' }

test('what a role may not do, or not see', async (t) => {
  const database = await createDatabase(t)
  const sql = database.pool()
  await sql.query('CREATE SCHEMA IF NOT EXISTS pgboss; CREATE TABLE IF NOT EXISTS pgboss.job (id int)')
  const { role, url } = await plainRole(t, database)
  const options = { url, env: NO_MIGRATIONS }

  await t.test('a role without any right: its schemas are named, each with its GRANT', async () => {
    const { findings } = await examined('rights', options)
    const objects = findings.map(({ seen }) => seen.replace(`role ${role} lacks rights on `, ''))
    assert.ok(objects.includes('schema service_ops') && objects.includes('schema pgboss'), objects.join())
    for (const { remedy } of findings) await sql.query(remedy)
    await isSilent('rights', options)
  })

  await t.test('a table that it may not write', async () => {
    await sql.query(`REVOKE UPDATE ON service_ops.integration_inbox FROM ${role}`)
    await findsAndMends('rights', /lacks rights on table service_ops\.integration_inbox$/, options, sql)
  })

  await t.test('a role that is to migrate, and may not', async () => {
    await finds('rights', new RegExp(`RUN_MIGRATIONS is 1 and role ${role} may not change`), { url })
    await isSilent('rights', { url: database.url })
  })

  await t.test('a role that does not see the transactions of others', async () => {
    await isSilent('sight', { url: database.url })
    await findsAndMends('sight', /does not see when the transactions of other roles began/, options, sql)
  })

  await t.test('row-level security of a table of Tidemark’s', async () => {
    await isSilent('row_security', options)
    await sql.query('ALTER TABLE service_ops.integration_inbox ENABLE ROW LEVEL SECURITY')
    await isSilent('row_security', { url: database.url })
    await findsAndMends('row_security', /of service_ops\.integration_inbox may hide its rows/, options, sql)
  })

  await t.test('what it may not look at is said with its GRANT, and is no pass', async (t) => {
    const bare = await plainRole(
      { after: (fn) => t.after(fn) },
      { ...database, name: `${database.name}_bare` },
    )
    const looked = { url: bare.url, config: configOf('orders'), env: NO_MIGRATIONS }
    let grant = ''
    for (const check of ['schema', 'tasks', 'processing', 'messages', 'connections', 'queue_schema']) {
      const { status, why, remedy, is_optional: optional } = await examined(check, looked)
      assert.deepEqual([check, status, optional], [check, 'not_run', false])
      assert.match(why ?? '', /permission denied/)
      assert.match(remedy ?? '', /^GRANT USAGE ON SCHEMA service_ops, pgboss TO "plain_/)
      grant = remedy ?? ''
    }
    // Catalogs are for everybody.
    for (const check of [
      'vacuum',
      'wraparound',
      'invalid_indexes',
      'hot_updates',
      'prepared_transactions',
      'server_version',
    ])
      assert.notEqual((await examined(check, looked)).status, 'not_run', check)
    await sql.query(grant)
    for (const check of ['tasks', 'processing', 'messages']) await isSilent(check, looked)
  })
})
