import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { TestContext } from 'node:test'
import type { TransactionalContext } from '../../src/config/types.ts'
import { createPool } from '../../src/db/pool.ts'
import type { Pool, PoolClient } from '../../src/db/pool.ts'
import { withTransaction } from '../../src/db/transaction.ts'
import { asRunner } from '../support/programWay.ts'
import { until } from '../support/until.ts'
import { closeAtEnd, hang, inbox, INSTANCE, processorOn } from './fixture.ts'

type Sql = Awaited<ReturnType<typeof inbox>>['sql']
type Tx = TransactionalContext['tx']

const MAX = 3

/** Limits of the session: what a test wants short, the others longer than the test. */
function poolWith(t: TestContext, url: string, statementTimeoutMs = 30_000): Pool {
  const pool = createPool({
    url,
    applicationName: `tidemark:${INSTANCE}`,
    connectTimeoutMs: 5_000,
    limits: { statementTimeoutMs, lockTimeoutMs: 30_000, idleInTransactionMs: 30_000 },
    max: MAX,
  })
  closeAtEnd(t, pool)
  return pool
}

/** Everybody who may borrow now gets a connection that is in no transaction and has nothing of an earlier one. */
async function assertClean(pool: Pool, sql: Sql, after: string): Promise<void> {
  await until(`all connections to be back ${after}`, () => pool.counts.total === pool.counts.idle)
  const clients = await Promise.all(Array.from({ length: MAX }, () => pool.connect()))
  try {
    for (const client of clients) {
      assert.equal(client.getTransactionStatus() ?? 'I', 'I', after)
      // With the transaction of somebody else still open, now() would be older than the statement.
      const { rows } = await client.query(
        `SELECT now() = statement_timestamp() AS own, pg_current_xact_id_if_assigned() IS NULL AS fresh,
                current_setting('lock_timeout') AS lock_timeout, to_regclass('pg_temp.trace_of_it') IS NULL AS bare`,
      )
      assert.deepEqual(rows, [{ own: true, fresh: true, lock_timeout: '30s', bare: true }], after)
    }
    const inside = `SELECT state, left(query, 80) AS query FROM pg_stat_activity
      WHERE datname = current_database() AND application_name = 'tidemark:${INSTANCE}' AND state LIKE 'idle in transaction%'`
    await until(
      `no session to be left in a transaction ${after}`,
      async () => (await sql.query(inside)).rowCount === 0,
    )
  } finally {
    for (const client of clients) client.release()
  }
}

async function pidOf(tx: Tx): Promise<number> {
  return (await tx.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')).rows[0]?.pid ?? 0
}

const isActive = async (sql: Sql, pid: number): Promise<boolean> =>
  (await sql.query(`SELECT FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'PgSleep'`, [pid]))
    .rowCount === 1

interface Limit {
  readonly says: RegExp
  readonly local?: Readonly<Record<string, string>>
  readonly isolation?: 'repeatable read'
  readonly fire: (tx: Tx, sql: Sql) => Promise<unknown>
}

/** Each ends a transaction from within, and rejects. */
const LIMITS: Readonly<Record<string, Limit>> = {
  'a statement timeout': {
    says: /statement timeout/,
    // It holds for what comes before the sleep, too.
    local: { statement_timeout: '500ms' },
    fire: (tx) => tx.query('SELECT pg_sleep(60)'),
  },
  'a lock timeout': {
    says: /lock timeout/,
    local: { lock_timeout: '50ms' },
    async fire(tx, sql) {
      const other = await sql.connect()
      try {
        await other.query('BEGIN; LOCK TABLE held')
        await tx.query('SELECT FROM held')
      } finally {
        await other.query('ROLLBACK')
        other.release()
      }
    },
  },
  'an idle transaction’s end': {
    says: /Connection terminated|not queryable|idle-in-transaction/,
    local: { idle_in_transaction_session_timeout: '500ms' },
    async fire(tx, sql) {
      const pid = await pidOf(tx)
      const gone = async () =>
        (await sql.query('SELECT FROM pg_stat_activity WHERE pid = $1', [pid])).rowCount === 0
      await until('the server to end it', gone)
      await tx.query('SELECT 1')
    },
  },
  'a cancel': {
    says: /canceling statement due to user request/,
    async fire(tx, sql) {
      const pid = await pidOf(tx)
      const cancelled = until('it to run', () => isActive(sql, pid)).then(() =>
        sql.query('SELECT pg_cancel_backend($1)', [pid]),
      )
      await Promise.all([tx.query('SELECT pg_sleep(60)'), cancelled])
    },
  },
  'the end of its backend': {
    says: /terminat/,
    async fire(tx, sql) {
      const pid = await pidOf(tx)
      const ended = until('it to run', () => isActive(sql, pid)).then(() =>
        sql.query('SELECT pg_terminate_backend($1)', [pid]),
      )
      await Promise.all([tx.query('SELECT pg_sleep(60)'), ended])
    },
  },
  'a serialization failure': {
    says: /could not serialize access/,
    isolation: 'repeatable read',
    async fire(tx, sql) {
      await tx.query('SELECT FROM pair')
      await sql.query('UPDATE pair SET n = n + 1')
      await tx.query('UPDATE pair SET n = n + 1')
    },
  },
  'a deadlock': {
    says: /deadlock detected/,
    local: { deadlock_timeout: '50ms' },
    async fire(tx, sql) {
      const other = await sql.connect()
      try {
        await other.query(`SET deadlock_timeout = '60s'; BEGIN; UPDATE pair SET n = n + 1 WHERE id = 2`)
        await tx.query('UPDATE pair SET n = n + 1 WHERE id = 1')
        const crossed = other.query('UPDATE pair SET n = n + 1 WHERE id = 1')
        const waiting = `SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()`
        await until('it to wait', async () => (await sql.query(waiting)).rowCount === 1)
        const lost = tx.query('UPDATE pair SET n = n + 1 WHERE id = 2')
        await Promise.all([lost, crossed])
      } finally {
        await other.query('ROLLBACK')
        other.release(true)
      }
    },
  },
}

async function world(t: TestContext) {
  const made = await inbox(t)
  await made.sql.query(
    'CREATE TABLE held (id int); CREATE TABLE pair (id int PRIMARY KEY, n int); INSERT INTO pair VALUES (1, 0), (2, 0)',
  )
  return made
}

describe('no connection returns to the pool inside a transaction', () => {
  test('after a limit of the server, whether its error is passed on or swallowed', async (t) => {
    const { url, sql } = await world(t)
    const pool = poolWith(t, url)
    for (const [name, { says, local, isolation, fire }] of Object.entries(LIMITS)) {
      // deadlock_timeout is a superuser’s to set.
      if (asRunner() && name === 'a deadlock') continue
      const options = { ...(local && { local }), ...(isolation && { isolation }) }
      const begin = async (client: PoolClient): Promise<void> => {
        await client.query('CREATE TEMPORARY TABLE trace_of_it (id int)')
        await client.query('INSERT INTO effect VALUES ($1)', [name])
      }
      const passedOn = withTransaction(
        pool,
        async (client) => {
          await begin(client)
          await fire(client, sql)
        },
        options,
      )
      await assert.rejects(passedOn, says, name)
      await assertClean(pool, sql, `after ${name}`)

      let swallowed: unknown
      const goesOn = withTransaction(
        pool,
        async (client) => {
          await begin(client)
          await fire(client, sql).catch((error: unknown) => (swallowed = error))
        },
        options,
      )
      await assert.rejects(goesOn, name)
      assert.match(String(swallowed), says, name)
      await assertClean(pool, sql, `after ${name} that was swallowed`)
    }
    const { rows } = await sql.query('SELECT FROM effect')
    assert.equal(rows.length, 0, 'nothing of any of them was written')
  })

  test('after a limit of our own: the client’s, above the server’s', async (t) => {
    const { url, sql } = await world(t)
    // The look at the connections afterwards has this limit, too.
    const pool = poolWith(t, url, 500)
    const silent = withTransaction(pool, async (client) => {
      await client.query('SET LOCAL statement_timeout = 0')
      await client.query('SELECT pg_sleep(5)')
    })
    await assert.rejects(silent, /Query read timeout/)
    await assertClean(pool, sql, 'after the client’s limit')
  })

  test('after a handler’s limit, a drain, or any limit of the server inside a handler', async (t) => {
    const { url, sql, send, effects } = await world(t)
    const pool = poolWith(t, url)
    const settings = Object.entries(LIMITS).filter(([, { isolation }]) => isolation === undefined)
    const limits = new Map<string, Limit['fire']>(
      settings.map(([name, { local, fire }]) => [
        name,
        async (tx, other) => {
          for (const [setting, value] of Object.entries(local ?? {}))
            await tx.query(`SET LOCAL ${setting} = '${value}'`)
          await fire(tx, other)
        },
      ]),
    )
    limits.set('hangs', hang)
    limits.set('hangs in SQL', (tx) => tx.query('SELECT pg_sleep(60)'))
    const handle = async ({ messageId }: { messageId: string }, { tx }: TransactionalContext) => {
      await tx.query('INSERT INTO effect VALUES ($1)', [messageId])
      await limits
        .get(messageId.replace(/, swallowed$/, ''))?.(tx, sql)
        .catch((error: unknown) => {
          if (!messageId.endsWith(', swallowed')) throw error
        })
    }
    const choices = {
      timeoutMs: 2_000,
      maxAttempts: 1,
      concurrency: 1,
      backoff: { baseMs: 3_600_000, maxMs: 3_600_000 },
    }
    const work = { kind: 'transactional', handle } as const
    const names = [...limits.keys(), ...settings.map(([name]) => `${name}, swallowed`)]
    await send(...names, 'good')
    const processor = processorOn(t, pool, work, choices)
    processor.start()
    // What had only been claimed ahead of one that hangs is given back, as often as it meets one, and comes back at once.
    const open = `SELECT message_id, status, attempts, interruptions, last_error FROM service_ops.integration_inbox
      WHERE NOT (status IN ('DEAD', 'DONE') AND attempts = 1)
        AND NOT (status = 'NEW' AND interruptions > 0 AND next_attempt_at > now() + interval '10 minutes')`
    await until('each to have its end', async () => (await sql.query(open)).rowCount === 0, 60_000).catch(
      async (error: unknown) => {
        throw new Error(JSON.stringify((await sql.query(open)).rows), { cause: error })
      },
    )
    await assertClean(pool, sql, 'after the handlers’ limits')
    assert.deepEqual(await effects(), ['good'])

    for (const message of ['hangs', 'hangs in SQL']) {
      await sql.query(
        `UPDATE service_ops.integration_inbox SET status = 'NEW', attempts = 0, next_attempt_at = now() WHERE message_id = $1`,
        [message],
      )
      const drained = processorOn(t, pool, work, { ...choices, timeoutMs: 60_000 })
      drained.start()
      await until('it to run', () => drained.state.inWork === 1)
      await drained.drain(0)
      await assertClean(pool, sql, `after a drain while a handler ${message}`)
      await drained.stop()
    }
    assert.deepEqual(await effects(), ['good'])
  })
})
