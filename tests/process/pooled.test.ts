import { test } from 'node:test'
import { createPool } from '../../src/db/pool.ts'
import { pgbouncer, pgbouncerMissing } from '../support/pgbouncer.ts'
import { until } from '../support/until.ts'
import { closeAtEnd, inbox, INSTANCE, processorOn } from './fixture.ts'

test(
  'behind a pooler, a handler past its limit has its own backend ended, and its outcome waits for nobody',
  { skip: pgbouncerMissing },
  async (t) => {
    const { url, sql, send, become } = await inbox(t)
    // As servers come: they do not look whether the client of a running statement is still there.
    await sql.query(
      `DO $$ BEGIN
         IF current_setting('client_connection_check_interval', true) IS NOT NULL THEN -- PostgreSQL 13 has no such look
           EXECUTE format('ALTER DATABASE %I SET client_connection_check_interval = 0', current_database());
         END IF;
       END $$`,
    )
    const pool = createPool({
      url: await pgbouncer(t, url, 'transaction'),
      applicationName: `tidemark:${INSTANCE}`,
      connectTimeoutMs: 5_000,
      limits: { statementTimeoutMs: 60_000, lockTimeoutMs: 60_000, idleInTransactionMs: 60_000 },
      startupOptions: false,
      ownSession: false,
      max: 5,
    })
    closeAtEnd(t, pool)
    const processor = processorOn(
      t,
      pool,
      {
        kind: 'transactional',
        async handle(_message, { tx }) {
          await tx.query('SELECT pg_sleep(600)')
        },
      },
      { timeoutMs: 1_500, maxAttempts: 1 },
    )
    await send('a')
    processor.start()
    const asleep = `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'`
    await until('it to hang', async () => (await sql.query(asleep)).rowCount === 1)
    await become({ a: 'DEAD 1' })
    await until('its backend to end', async () => (await sql.query(asleep)).rowCount === 0)
  },
)
