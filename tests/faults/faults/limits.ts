import { Client } from 'pg'
import { pause } from '../../../src/kit/pause.ts'
import type { Instance } from '../../support/instance.ts'
import { until } from '../../support/until.ts'
import type { Fault } from '../fault.ts'
import type { Stage } from '../stage.ts'

/** Holds a lock as somebody else's session would, while `during` runs. */
export async function locking<T>(
  { directUrl }: Stage,
  statement: string,
  during: () => Promise<T>,
): Promise<T> {
  const client = new Client({ connectionString: directUrl, application_name: 'stranger' })
  client.on('error', () => undefined)
  await client.connect()
  try {
    await client.query(`BEGIN; ${statement}`)
    return await during()
  } finally {
    await client.query('ROLLBACK').catch(() => undefined)
    await client.end()
  }
}

/** Connections of the instance that waits for a lock with most of them. */
const WAITING = `SELECT coalesce(max(n), 0) AS n FROM (SELECT count(*) AS n FROM pg_stat_activity
  WHERE application_name LIKE 'tidemark:%' AND wait_event_type = 'Lock' GROUP BY application_name) w`

/** Lines that tell of this SQLSTATE. */
function saidOf(machines: readonly Instance[], state: string): number {
  return machines.reduce((sum, one) => sum + one.lines.filter(({ msg }) => msg.includes(state)).length, 0)
}

/** Takes connections until the server has none left. */
async function takeAll({ directUrl }: Stage, taken: Client[]): Promise<void> {
  for (;;) {
    const client = new Client({ connectionString: directUrl, application_name: 'stranger' })
    client.on('error', () => undefined)
    try {
      await client.connect()
      taken.push(client)
    } catch (error) {
      if (String(error).includes('too many clients')) return
      throw error
    }
  }
}

export const LIMITS: readonly Fault[] = [
  {
    name: 'pool_exhausted',
    title: 'Slow handlers and blocked transactions hold every connection of the work pools',
    // Two handlers and three pages are all that it has room for.
    env: { DB_POOL_MAX: '5' },
    async happen(stage, random) {
      const { machines, pool, number, flows } = stage
      const slow = `INSERT INTO orders (payload) SELECT '{"behave":"slow","ms":5000}' FROM generate_series(1, 6)`
      await pool.query(slow)
      await until(
        'slow handlers to be at work',
        async () =>
          (await number(
            `SELECT count(*) AS n FROM pg_stat_activity
              WHERE application_name LIKE 'tidemark:%' AND state = 'idle in transaction'`,
          )) >= 3,
      )
      // Whoever writes an outcome, claims, reads a page or looks for a job now waits, and holds a connection.
      const inbox = 'LOCK service_ops.integration_inbox IN EXCLUSIVE MODE'
      const watermarks = 'LOCK service_ops.integration_poll_watermark IN EXCLUSIVE MODE'
      await locking(stage, inbox, () =>
        locking(stage, watermarks, async () => {
          await locking(stage, 'LOCK pgboss.job IN EXCLUSIVE MODE', async () => {
            await until('a pool to be used up', () => machines.count('pool_pressure') > 0)
            await pause(random.between(500, 3_000))
          })
        }),
      )
      await flows(60)
    },
  },
  {
    name: 'max_connections',
    mayLoseAnswers: true,
    title: 'Strangers take every connection of the server, those too that instances lose',
    ownServer: { max_connections: '70', superuser_reserved_connections: '0' },
    async happen(stage, random) {
      const { machines, flows } = stage
      const taken: Client[] = []
      try {
        await takeAll(stage, taken)
        const fullUntil = performance.now() + 5_000
        while (performance.now() < fullUntil) {
          // Whoever loses its connection must make another, and finds the place taken.
          await taken[0]?.query(
            `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
              WHERE application_name LIKE 'tidemark:%' AND query NOT LIKE '%advisory%' ORDER BY random() LIMIT 2`,
          )
          await takeAll(stage, taken)
          await pause(random.between(100, 600))
        }
      } finally {
        await Promise.all(taken.map((client) => client.end().catch(() => undefined)))
      }
      if (saidOf(machines.living, '[53300]') + machines.count('pool_pressure') === 0)
        throw new Error('no instance was refused a connection')
      await flows(60)
    },
  },
  {
    name: 'inbox_locked',
    title: 'Somebody holds ACCESS EXCLUSIVE on the inbox for 30 s',
    isLong: true,
    async happen(stage) {
      const { number, flows } = stage
      await locking(stage, 'LOCK service_ops.integration_inbox IN ACCESS EXCLUSIVE MODE', async () => {
        await pause(30_000)
        if ((await number(WAITING)) === 0) throw new Error('nobody waits for the lock')
      })
      await flows(60)
    },
  },
  {
    name: 'statement_limits',
    inShortForm: true,
    title: 'A statement limit of 1 s, and a source, then the inbox, that is locked for longer',
    env: { DB_STATEMENT_TIMEOUT_SECONDS: '1' },
    async happen(stage, random) {
      const { machines, flows } = stage
      for (const table of ['orders', 'service_ops.integration_inbox']) {
        const before = saidOf(machines.living, '[57014]')
        await locking(stage, `LOCK ${table} IN ACCESS EXCLUSIVE MODE`, async () => {
          await until('a statement to reach its limit', () => saidOf(machines.living, '[57014]') > before)
          await pause(random.between(500, 2_500))
        })
        await flows(40)
      }
    },
  },
  {
    name: 'read_only_primary',
    title: 'The primary turns read-only for 6 s, as when its disk is nearly full',
    ownServer: {},
    async happen({ pool, machines, flows }) {
      const set = async (sql: string): Promise<void> => {
        await pool.query(sql)
        await pool.query('SELECT pg_reload_conf()')
      }
      await set('ALTER SYSTEM SET default_transaction_read_only = on')
      try {
        await until('a write to be refused', () => saidOf(machines.living, '[25006]') > 0)
        await pause(6_000)
      } finally {
        await set('ALTER SYSTEM RESET default_transaction_read_only')
      }
      await flows(60)
    },
  },
]
