import assert from 'node:assert/strict'
import { test } from 'node:test'
import { lookAtWays } from '../../src/doctor/reach.ts'
import { createDatabase } from '../support/database.ts'
import { pgbouncer, pgbouncerMissing } from '../support/pgbouncer.ts'
import { configOf, DIRECT, examined, finds, findsAndMends, isSilent } from './patient.ts'

const LIMIT_MS = 5_000

test('how the database is reached', async (t) => {
  const database = await createDatabase(t)
  const { url, name } = database
  const sql = database.pool()
  const options = { url, config: configOf('orders') }
  const through = (one: string, two: string) => ({
    ...options,
    ways: () => lookAtWays(one, two, LIMIT_MS),
  })

  await t.test('not at all', async () => {
    await isSilent('database', { url })
    await finds('database', /^no database$/)
    const { status, why, is_optional: optional } = await examined('primary')
    assert.deepEqual([status, why, optional], ['not_run', 'no database', false])
  })

  await t.test('on Fly.io, in the machine itself', async () => {
    // The environment has no address; what the embedded one would say is another matter.
    const env = { FLY_MACHINE_ID: '148ed', DATABASE_URL: '' }
    await finds('database', /DATABASE_URL is not set on this machine/, { url, env })
    await isSilent('database', { url, env: { FLY_MACHINE_ID: '148ed' } })
  })

  await t.test('by two addresses of different databases', async () => {
    await isSilent('addresses', through(url, url))
    const other = new URL(url)
    other.pathname = '/postgres'
    await finds(
      'addresses',
      /^DATABASE_URL leads to test_.*, DIRECT_DATABASE_URL to postgres /,
      through(url, other.href),
    )
    await isSilent('addresses', through(url, `${url}?application_name=x`))
  })

  await t.test('by an address for sessions that leads nowhere', async () => {
    const nowhere = new URL(url)
    nowhere.port = '1'
    await finds(
      'addresses',
      /^DIRECT_DATABASE_URL cannot be used: .*ECONNREFUSED/,
      through(url, nowhere.href),
    )
    nowhere.port = new URL(url).port
    nowhere.pathname = '/there_is_none'
    await finds(
      'addresses',
      /^DIRECT_DATABASE_URL cannot be used: .*"there_is_none" does not exist/,
      through(url, nowhere.href),
    )
  })

  await t.test('by a pooler in transaction mode alone', { skip: pgbouncerMissing }, async (t) => {
    for (const limit of ['statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout'])
      await sql.query(`ALTER DATABASE ${name} SET ${limit} = '30s'`)
    const pooled = await pgbouncer(t, url, 'transaction')
    await finds(
      'addresses',
      /^DATABASE_URL, and DIRECT_DATABASE_URL is not set, leads through a pooler in transaction mode: a dead leader/,
      through(pooled, pooled),
    )
    await finds('addresses', /^DIRECT_DATABASE_URL leads through a pooler/, through(url, pooled))
    await isSilent('addresses', through(pooled, url))
  })

  await t.test('by a pooler, as a role without limits', async () => {
    const missing = ['lock_timeout']
    const ways = { ...DIRECT, work: { ...DIRECT.work, pooling: 'session' as const, missing } }
    const { remedy } = await finds('addresses', /the role has no lock_timeout/, {
      ...options,
      ways: () => Promise.resolve(ways),
    })
    assert.equal(remedy, "ALTER ROLE CURRENT_USER SET lock_timeout = '5s'")
  })

  await t.test('with fewer connections than two colours need', async () => {
    const needs = { ...options, env: { DB_POOL_MAX: '10' } }
    await isSilent('connections', needs)
    // Ten for work, two reserved, one that looks, the sentinel, two that LISTEN.
    await sql.query(
      `INSERT INTO service_ops.runner_instance (instance_id, holder, release, state)
       SELECT n, gen_random_uuid(), 'r', 'ready' FROM generate_series(1, 3) n`,
    )
    await sql.query(`ALTER DATABASE ${name} CONNECTION LIMIT 95`)
    await findsAndMends(
      'connections',
      new RegExp(
        `^the limit of database ${name} is 95: 95 are left, and 3 instances of 16 connections need 96`,
      ),
      needs,
      { query: (text) => (text.startsWith('ALTER') ? sql.query(text) : Promise.resolve()) },
    )
    await sql.query(`ALTER DATABASE ${name} CONNECTION LIMIT -1`)
    await finds('connections', /^max_connections is \d+, of which \d+ are reserved/, {
      ...options,
      env: { DB_POOL_MAX: '100' },
    })
    await sql.query(`UPDATE service_ops.runner_instance SET state = 'stopped'`)
  })

  await t.test('by a host whose clock is off', async () => {
    await isSilent('clock', { url })
    const off = (ms: number) => ({ url, now: () => Date.now() + ms })
    await finds('clock', /clock is (59\.9|60\.0) s behind the database's/, off(-60_000))
    await finds('clock', /clock is (59\.9|60\.0) s ahead of the database's/, off(60_000))
    await isSilent('clock', off(500))
  })
})
