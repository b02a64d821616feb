import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Ways } from '../../src/doctor/check.ts'
import { primary, judgeVersion } from '../../src/doctor/server.ts'
import { createDatabase } from '../support/database.ts'
import { skipBefore, wantedMajor } from '../support/postgres.ts'
import { configOf, DIRECT, examined, finds, findsAndMends, isSilent } from './patient.ts'
import { standIn } from './standIn.ts'

const POOLED: Ways = { ...DIRECT, work: { ...DIRECT.work, pooling: 'transaction' } }

test('what a server and its defaults take away', async (t) => {
  const database = await createDatabase(t)
  const { url, name } = database
  const sql = database.pool()
  const role = new URL(url).username
  /** For sessions that begin from now on. */
  const byDefault = (setting: string, value: string) =>
    sql.query(`ALTER DATABASE ${name} SET ${setting} = '${value}'`)
  const back = (setting: string) => sql.query(`ALTER DATABASE ${name} RESET ${setting}`)
  t.after(() => sql.query(`ALTER ROLE ${role} IN DATABASE ${name} RESET ALL`).then(() => undefined))
  /** Remedies are for a role in every database; here they must not reach other tests. */
  const here = {
    query: (text: string) =>
      sql.query(text.replace(`ROLE ${role} SET`, `ROLE ${role} IN DATABASE ${name} SET`)),
  }

  await t.test('a server that a crash may leave unreadable', async () => {
    // The tests' own server trades its safety for speed.
    const { findings } = await examined('durability', { url })
    const [fsync, pages] = findings
    assert.match(fsync?.seen ?? '', /^fsync is off/)
    assert.equal(fsync?.remedy, "ALTER SYSTEM SET fsync = 'on'; SELECT pg_reload_conf()")
    assert.match(pages?.seen ?? '', /^full_page_writes is off/)
  })

  await t.test('commits that a crash may take back', async () => {
    await byDefault('synchronous_commit', 'off')
    const { findings } = await examined('durability', { url })
    const found = findings.find(({ seen }) => seen.startsWith('synchronous_commit is off (database)'))
    await here.query(found?.remedy ?? '')
    const { findings: after } = await examined('durability', { url })
    assert.equal(after.length, findings.length - 1)
  })

  const unnoticed = skipBefore(14, 'no server of it notices, which server_version says')
  await t.test('a server that does not notice who died', { skip: unnoticed }, async () => {
    await isSilent('dead_clients', { url })
    await byDefault('client_connection_check_interval', '0')
    await findsAndMends('dead_clients', /client_connection_check_interval is 0/, { url }, here)
  })

  await t.test('a role that may only read by default', async () => {
    await sql.query(`ALTER ROLE ${role} IN DATABASE ${name} SET default_transaction_read_only = on`)
    const admin = { query: (text: string) => here.query(`BEGIN READ WRITE; ${text}; COMMIT`) }
    const options = { url, config: configOf('orders') }
    await findsAndMends(
      'role_settings',
      /default_transaction_read_only is on \(database user\)/,
      options,
      admin,
    )
  })

  await t.test('an isolation under which the claims are no proof', async () => {
    const options = { url, config: configOf('orders') }
    await byDefault('default_transaction_isolation', 'repeatable read')
    const direct = await finds(
      'role_settings',
      /isolation is repeatable read \(database\): instances set their own/,
      options,
    )
    assert.equal(direct.severity, 'warning')
    const pooled = { ...options, ways: () => Promise.resolve(POOLED) }
    const { severity } = await finds('role_settings', /start refuses/, pooled)
    assert.equal(severity, 'fault')
    await here.query(direct.remedy)
    await isSilent('role_settings', options)
  })

  const unlimited = skipBefore(17, 'there is no transaction_timeout')
  await t.test('a limit of transactions below that of a handler', { skip: unlimited }, async () => {
    await byDefault('transaction_timeout', '20s')
    await finds('role_settings', /transaction_timeout is 20000 ms, and a handler may take 60000 ms/, {
      url,
      config: configOf('orders'),
    })
    await back('transaction_timeout')
  })

  await t.test('behind a pooler, a limit of statements below ours', async () => {
    await byDefault('statement_timeout', '3s')
    const options = { url, config: configOf('orders') }
    await isSilent('role_settings', options)
    await finds('role_settings', /statement_timeout of the role is 3000 ms, below/, {
      ...options,
      ways: () => Promise.resolve(POOLED),
    })
    await back('statement_timeout')
  })

  await t.test('a standby in the place of the primary', async () => {
    await isSilent('primary', { url })
    const [found] = await primary.run(standIn([{ is_standby: true }]))
    assert.match(found?.seen ?? '', /leads to a standby/)
  })

  await t.test('a version that is too old', async () => {
    if (wantedMajor() >= 15) await isSilent('server_version', { url })
    const severity = (version: string, number: number) =>
      judgeVersion({ version, version_number: number }).map((found) => found.severity)
    assert.deepEqual(severity('12.22', 120_022), ['fault'])
    assert.deepEqual(severity('13.23', 130_023), ['warning'])
    assert.deepEqual(severity('14.24', 140_024), ['warning'])
    assert.deepEqual(severity('15.0', 150_000), [])
  })
})
