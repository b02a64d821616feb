import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import type { Pool } from 'pg'
import { createDatabase } from '../support/database.ts'
import { startInstance } from '../support/instance.ts'
import type { Instance } from '../support/instance.ts'
import type { Scope } from '../support/scope.ts'
import { until } from '../support/until.ts'

/**
 * Tenants with slots and keys in order, on real processes that are killed with messages in work. Handlers write down when
 * they begin and end, on connections of their own: what the inbox says of itself is not asked.
 */
const LONG = process.env['TIDEMARK_LONG'] === '1'

const SIZE = LONG
  ? { tenants: 50, messages: 6_000, instances: 4, kills: 5, everyMs: 10_000, keys: 100, perKey: 200 }
  : { tenants: 10, messages: 600, instances: 3, kills: 1, everyMs: 3_000, keys: 20, perKey: 20 }
const SLOTS = 2
const LIMIT_MS = LONG ? 600_000 : 120_000

const TABLES = `
  CREATE TABLE one_by_one (id int PRIMARY KEY, tenant text NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp());
  CREATE TABLE in_batches (LIKE one_by_one INCLUDING ALL);
  CREATE TABLE visit (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, instance text NOT NULL, tenant text NOT NULL, message text NOT NULL, ok boolean,
    entered_at timestamptz NOT NULL DEFAULT clock_timestamp(), left_at timestamptz);
  CREATE INDEX ON visit (tenant, entered_at)`

/**
 * Handlers that note their visits outside of any transaction of Tidemark's. `failing` says which visits fail. There are
 * fewer places than the keys have slots together, so every key has to have its turn.
 */
const config = (options: string, failing: string): string => `
import pg from '${import.meta.resolve('pg')}'
import { setTimeout as work } from 'node:timers/promises'
const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 4 })
pool.on('error', () => {})
async function visit(messages) {
  const { rows } = await pool.query(
    'INSERT INTO visit (instance, tenant, message) SELECT $1, t, m FROM unnest($2::text[], $3::text[]) u(t, m) RETURNING id',
    [process.env.NAME, messages.map((m) => m.groupKey), messages.map((m) => m.messageId)])
  await work(10 + Math.random() * 20)
  const ok = messages.map((m) => !(${failing}))
  await pool.query(
    'UPDATE visit v SET left_at = clock_timestamp(), ok = u.ok FROM unnest($1::bigint[], $2::boolean[]) u(id, ok) WHERE v.id = u.id',
    [rows.map((row) => row.id), ok])
  return ok.map((ok) => (ok ? 'done' : { failed: new RangeError('as it was told') }))
}
const poller = (table) => ({ source: { table, id: 'id', createdAt: 'at', groupKey: 'tenant' }, every: '1s', pageSize: 200 })
const common = { maxAttempts: 50, backoff: { base: '20ms', max: '200ms' }, ${options} }
export default {
  pollers: { one_by_one: poller('one_by_one'), in_batches: poller('in_batches') },
  processors: {
    singles: { ...common, from: 'one_by_one', contract: 'external', concurrency: 4,
      async handle(message) { const [outcome] = await visit([message]); if (outcome !== 'done') throw outcome.failed } },
    batches: { ...common, from: 'in_batches', concurrency: 2, batchSize: 25, handleBatch: visit },
  },
}`

interface Fleet {
  readonly pool: Pool
  readonly instances: readonly Instance[]
  /** Kills one after the other, at random, and starts another in its place. */
  readonly killSome: () => Promise<void>
  readonly finished: (messages: number) => Promise<void>
}

async function fleet(t: Scope, text: string): Promise<Fleet> {
  const database = await createDatabase(t)
  const pool = database.pool()
  await pool.query(TABLES)
  const instances: Instance[] = []
  const names = new Map<Instance, string>()
  const start = async (): Promise<void> => {
    const name = `instance ${names.size + 1}`
    const options = { databaseUrl: database.url, config: text, env: { NAME: name, DB_POOL_MAX: '10' } }
    const instance = await startInstance(t, options)
    instances.push(instance)
    names.set(instance, name)
    await instance.said('ready')
  }
  for (let i = 0; i < SIZE.instances; i += 1) await start()
  return {
    pool,
    instances,
    async killSome() {
      for (let i = 0; i < SIZE.kills; i += 1) {
        await delay(SIZE.everyMs) // a rhythm, not a wait: whatever is in work then is hit
        const victim = instances.splice(Math.floor(Math.random() * instances.length), 1)[0]
        assert.ok(victim)
        victim.kill('SIGKILL')
        await victim.exited
        // A killed handler does not say that it has ended; no other may have its place before this.
        await pool.query(
          `UPDATE visit SET left_at = greatest(clock_timestamp(), entered_at) WHERE instance = $1 AND left_at IS NULL`,
          [names.get(victim)],
        )
        await start()
      }
    },
    async finished(messages) {
      const open = `SELECT count(*)::int AS n FROM service_ops.integration_inbox WHERE status = 'DONE'`
      await until(
        'every message to be done',
        async () => (await pool.query<{ n: number }>(open)).rows[0]?.n === messages,
        LIMIT_MS,
      )
      const { rows } = await pool.query(`SELECT name, detail FROM service_ops.verify() WHERE NOT ok`)
      assert.deepEqual(rows, [])
      const busy = await pool.query(
        `SELECT group_key, in_use, waiting FROM service_ops.slot_status WHERE in_use > 0 OR waiting > 0`,
      )
      assert.deepEqual(busy.rows, [], 'every slot is free')
    },
  }
}

/** Visits that began while others of their tenant were under way, with these. */
const AT_ONCE = `
  SELECT v.tenant, v.message, count(*)::int AS at_once
    FROM visit v JOIN visit o ON o.tenant = v.tenant AND o.entered_at <= v.entered_at AND v.entered_at < o.left_at
   GROUP BY v.id, v.tenant, v.message`

/** The most at once, over all tenants, and visits in all. */
async function mostAtOnce(pool: Pool): Promise<{ most: number; visits: number }> {
  const { rows } = await pool.query<{ most: number; visits: number }>(
    `SELECT max(at_once) AS most, count(*)::int AS visits FROM (${AT_ONCE}) x`,
  )
  assert.ok(rows[0])
  return rows[0]
}

/** Writes rows in bursts, each in the order of its times, and calls everybody to claim more than once. */
async function write(pool: Pool, messages: number, keys: number, overMs: number, hot = 0): Promise<void> {
  const bursts = 10
  for (let burst = 0; burst < bursts; burst += 1) {
    for (const table of ['one_by_one', 'in_batches']) {
      const share = messages / bursts / 2
      await pool.query(
        `INSERT INTO ${table} (id, tenant) SELECT n, '${table} ' || CASE WHEN n % 10 < $4 THEN 0 ELSE n % $3::int END
           FROM generate_series($1::int, $1::int + $2::int - 1) n`,
        [burst * share, share, keys / 2, hot],
      )
      for (let i = 0; i < 20; i += 1) await pool.query(`SELECT pg_notify('tidemark_inbox', $1)`, [table])
    }
    await delay(overMs / bursts)
  }
}

test(`${SIZE.tenants} tenants with ${SLOTS} slots each on ${SIZE.instances} instances that are killed: never more at once, and no slot is lost`, async (t) => {
  const { pool, killSome, finished } = await fleet(
    t,
    config(`slots: { perKey: ${SLOTS} }`, 'Math.random() < 0.05'),
  )
  await Promise.all([killSome(), write(pool, SIZE.messages, SIZE.tenants, SIZE.kills * SIZE.everyMs, 3)])
  await finished(SIZE.messages)
  const { most, visits } = await mostAtOnce(pool)
  t.diagnostic(`${visits} visits, ${most} of one tenant at once`)
  assert.equal(most, SLOTS, 'the slots were all used, and no more')
})

test(`ordered: ${SIZE.keys} keys of ${SIZE.perKey} messages, failures and kills: nothing of a key begins before its earlier messages are done`, async (t) => {
  const messages = SIZE.keys * SIZE.perKey
  const { pool, killSome, finished } = await fleet(t, config('ordered: true', 'Math.random() < 0.05'))
  await Promise.all([killSome(), write(pool, messages, SIZE.keys, SIZE.kills * SIZE.everyMs)])
  await finished(messages)
  const { most, visits } = await mostAtOnce(pool)
  t.diagnostic(`${visits} visits of ${messages} messages`)
  assert.equal(most, 1)
  const { rows } = await pool.query(
    `SELECT * FROM (SELECT tenant, message::int AS message, lag(message::int) OVER (PARTITION BY tenant ORDER BY entered_at) AS before FROM visit) v
      WHERE v.message < v.before`,
  )
  assert.deepEqual(rows, [], 'a message began after a later one of its key')
  const left = await pool.query(
    `SELECT v.tenant, v.message, v.before FROM (
       SELECT tenant, message::int AS message, ok, lag(message::int) OVER w AS before, lag(ok) OVER w AS was_ok FROM visit WINDOW w AS (PARTITION BY tenant ORDER BY entered_at)) v
      WHERE v.message > v.before AND v.was_ok IS NOT true`,
  )
  assert.deepEqual(left.rows, [], 'a message began although the one before had not been done')
})
