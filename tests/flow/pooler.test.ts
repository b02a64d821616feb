import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { tidemark } from '../cli/tidemark.ts'
import { createDatabase } from '../support/database.ts'
import { startInstance } from '../support/instance.ts'
import { pgbouncer, pgbouncerMissing } from '../support/pgbouncer.ts'
import { until } from '../support/until.ts'

const skip = pgbouncerMissing

const CONFIG = `export default {
  pollers: { arrivals: { source: { table: 'arrival', id: 'id', createdAt: 'at' }, every: '1s' } },
  processors: { reader: { from: 'arrivals', contract: 'transactional', exclusive: true, async handle({ messageId }, { tx }) {
    await tx.query('INSERT INTO effect VALUES ($1)', [messageId])
  } } },
  jobs: { nightly: { cron: '0 3 * * *', handle() {} } },
}`

/** So long that no busy machine makes it look as if the lease had run out. */
const LEASE_S = 40

/** In this database: other tests run on the same server. */
const SESSION_LOCKS = `pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`

async function world(t: TestContext, mode: 'session' | 'transaction') {
  const database = await createDatabase(t, { migrated: false })
  const pool = database.pool()
  await pool.query(
    `CREATE TABLE arrival (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz NOT NULL DEFAULT now());
     CREATE TABLE effect (message_id text)`,
  )
  const count = async (text: string): Promise<number> => {
    const { rows } = await pool.query<{ n: number }>(`SELECT count(*)::int AS n FROM ${text}`)
    return rows[0]?.n ?? 0
  }
  return {
    count,
    direct: database.url,
    pooled: await pgbouncer(t, database.url, mode),
    /** So many more rows, each in its own transaction, are processed once. */
    work: async (rows: number): Promise<void> => {
      const before = await count('effect')
      for (let i = 0; i < rows; i += 1) await pool.query('INSERT INTO arrival DEFAULT VALUES')
      await until('the rows to be processed', async () => (await count('effect')) >= before + rows, 60_000)
      assert.equal(await count('effect'), await count('arrival'))
      assert.equal(await count('effect'), await count('(SELECT DISTINCT message_id FROM effect) e'))
    },
  }
}

test(
  'PgBouncer in transaction mode before the work, a direct address for sessions: a leader that is killed is replaced at once',
  { skip },
  async (t) => {
    const { pooled, direct, count, work } = await world(t, 'transaction')
    const env = { DIRECT_DATABASE_URL: direct, LEADER_LEASE_SECONDS: String(LEASE_S) }
    const start = () => startInstance(t, { databaseUrl: pooled, config: CONFIG, env })
    const first = await start()
    const { mode, consequence } = await first.said('pooler_detected')
    assert.equal(mode, 'transaction')
    assert.match(String(consequence), /statement_timeout cannot be set here; set them with ALTER ROLE/)
    await first.said('task_started_as_leader', { task: 'reader' })
    const second = await start()
    await second.said('ready')
    await work(50)
    await until('the sentinels to be seen', async () => (await count(SESSION_LOCKS)) >= 2)
    first.kill('SIGKILL')
    const { gap_ms: gap } = await second.said('leader_took_over', { task: 'reader', from: first.id })
    t.diagnostic(`kill -9: the other led ${String(gap)} ms after the last renewal`)
    assert.ok(Number(gap) < LEASE_S * 1000, `sooner than by the lease: ${String(gap)} ms`)
    await work(50)
    assert.deepEqual([...second.of('poll_failed'), ...second.of('message_failed')], [])
    assert.equal((await tidemark(['verify'], { env: { DATABASE_URL: pooled } })).code, 0)
    second.kill('SIGTERM')
    assert.equal((await second.exited).code, 0)
  },
)

test(
  'nothing but a pooler in transaction mode: the lease alone decides, nobody migrates, and both are said',
  { skip },
  async (t) => {
    const { pooled, direct, count, work } = await world(t, 'transaction')
    const refused = await tidemark(['migrate'], { env: { DATABASE_URL: pooled } })
    assert.equal(refused.code, 1)
    assert.match(refused.stderr, /DIRECT_DATABASE_URL/)
    const first = await startInstance(t, { databaseUrl: pooled, config: CONFIG })
    assert.match(String((await first.said('pooler_detected')).consequence), /no session is ours/)
    await first.said('schema_incompatible')
    assert.equal((await tidemark(['migrate'], { env: { DATABASE_URL: direct } })).code, 0)
    await first.said('task_started_as_leader', { task: 'reader' })
    await work(50)
    const second = await startInstance(t, { databaseUrl: pooled, config: CONFIG })
    await second.said('ready')
    // The queue's own are short.
    await until('no lock of a session', async () => (await count(SESSION_LOCKS)) === 0)
    first.kill('SIGKILL')
    await second.said('leader_took_over', { task: 'reader', from: first.id })
    await work(50)
    // Nothing of ours stays on a session that the pooler lends to others.
    // PgBouncer's own settings are there until the next statement.
    const left = `pg_stat_activity WHERE datname = current_database() AND query ~* '^\\s*(SET|LISTEN) '`
    await until('no session to have been changed', async () => (await count(left)) === 0)
    assert.deepEqual(second.of('listen_lost'), [])
  },
)

test('PgBouncer in session mode does all of it on one address', { skip }, async (t) => {
  const { pooled, work } = await world(t, 'session')
  const instance = await startInstance(t, { databaseUrl: pooled, config: CONFIG })
  assert.equal((await instance.said('pooler_detected')).mode, 'session')
  await instance.said('ready')
  await work(50)
  instance.kill('SIGTERM')
  assert.equal((await instance.exited).code, 0)
})
