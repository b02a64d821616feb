import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { createPool } from '../../src/db/pool.ts'
import { createInvariants } from '../../src/runner/invariants.ts'
import type { InvariantsOptions } from '../../src/runner/invariants.ts'
import { createDatabase } from '../support/database.ts'
import { wantedMajor } from '../support/postgres.ts'
import { until } from '../support/until.ts'

const SLOW = `SELECT count(*) AS found, NULL::text AS detail FROM pg_sleep(30)`
const BROKEN = `SELECT 3 AS found, 'the first' AS detail`

async function world(t: TestContext, options: Partial<InvariantsOptions> = {}) {
  const database = await createDatabase(t)
  const pool = createPool({
    url: database.url,
    applicationName: 'test',
    connectTimeoutMs: 5_000,
    limits: { statementTimeoutMs: 30_000, lockTimeoutMs: 5_000, idleInTransactionMs: 10_000 },
    max: 4,
  })
  t.after(() => pool.end())
  const ending = new AbortController()
  t.after(() => ending.abort(new Error('the test ends')))
  const invariants = createInvariants({
    pool: () => pool,
    living: () => 1,
    signal: ending.signal,
    ...options,
  })
  const add = (name: string, query: string) =>
    pool.query(
      `INSERT INTO service_ops.invariant (name, scope, title, meaning, query, schema_version) VALUES ($1, 'once', 't', 'm', $2, 99)`,
      [name, query],
    )
  const known = async () => {
    const { rows } = await pool.query<{ name: string }>(
      `SELECT name FROM service_ops.invariant WHERE scope = 'once' ORDER BY name`,
    )
    return rows.map(({ name }) => name)
  }
  const verdicts = () => new Map(invariants.look().map(({ name, ok }) => [name, ok]))
  return { pool, invariants, ending, add, known, verdicts }
}

test('an invariant that outlasts its limit is not known, and every other keeps its verdict', async (t) => {
  const { add, known, verdicts } = await world(t, { limitMs: 1_000 })
  await add('slow', SLOW)
  await add('broken', BROKEN)
  const all = await known()
  await until('all of them to be asked', () => verdicts().size === all.length)
  const found = verdicts()
  assert.deepEqual([...found.keys()], all)
  assert.equal(found.get('slow'), null)
  assert.equal(found.get('broken'), false)
  for (const name of all) if (name !== 'slow' && name !== 'broken') assert.equal(found.get(name), true, name)
})

test('one that cannot be run is not known, and the others are', async (t) => {
  const { add, verdicts } = await world(t)
  await add('fails', 'SELECT count(*) AS found, NULL::text AS detail FROM no_such_table')
  await until('those before and after it', () => verdicts().get('terms_only_grow') === true)
  assert.equal(verdicts().get('fails'), null)
  assert.equal(verdicts().get('attempts_are_bounded'), true)
})

test('nothing is known once it was forgotten, and nothing is asked before somebody looks', async (t) => {
  const { invariants, verdicts } = await world(t)
  invariants.forget()
  assert.equal(verdicts().size, 0)
  await until('the first verdict', () => [...verdicts().values()].includes(true))
  invariants.forget()
  assert.ok(!verdicts().has('attempts_are_bounded') || verdicts().get('attempts_are_bounded') === null)
})

test('the end of the instance waits for no invariant', async (t) => {
  const { add, ending, pool, verdicts } = await world(t)
  await add('a_slow_one', SLOW)
  verdicts()
  const asleep = async () => {
    const { rows } = await pool.query<{ n: number }>(
      `SELECT count(*)::integer AS n FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%pg_sleep(30)%' AND pid <> pg_backend_pid()`,
    )
    return rows[0]?.n ?? 0
  }
  await until('the slow one to be under way', async () => (await asleep()) > 0)
  ending.abort(new Error('the instance ends'))
  await until('its connection to be given back', () => pool.counts.total === pool.counts.idle)
  // Before 14 the server does not notice that nobody waits for the answer.
  if (wantedMajor() < 14)
    await pool.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(30)%' AND pid <> pg_backend_pid()`,
    )
})
