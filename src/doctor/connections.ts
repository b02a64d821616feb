import { transactionalHandlers } from '../runner/concurrency.ts'
import { SESSION_CONNECTIONS, workConnections } from '../runner/connections.ts'
import { WORK_MARGIN } from '../runner/foundation.ts'
import { warning, type Check } from './check.ts'
import { sql } from './statements.ts'

/** During a blue-green deploy both colours hold their pools at once, and a full server refuses the newcomer. */

type Row = {
  most: number
  reserved: number
  of_database: number
  of_role: number
  database: string
  role: string
  others: number
}

export const connections: Check = {
  name: 'connections',
  title:
    'The server has connections for the pools of all instances twice over, as a blue-green deploy needs them.',
  async run(context) {
    const database = context.database()
    const { settings } = context
    const [row] = (await database.query<Row>(sql.connections)).rows
    if (row === undefined) return []
    const { living } = (await database.query<{ living: number }>(sql.living)).rows[0] ?? { living: 0 }
    const { work } = await context.ways()
    const pooled = work.pooling !== 'none'
    // What goes through a pooler counts there, and the pooler's own are among the others.
    const each = SESSION_CONNECTIONS + (pooled ? 0 : workConnections(settings, context.config().processors))
    const instances = Math.max(1, living)
    const needed = 2 * instances * each
    const free = [
      {
        what: 'max_connections',
        free: row.most - row.reserved - row.others,
        of: `${row.most}, of which ${row.reserved} are reserved and ${row.others} are others'`,
        remedy: (more: number) =>
          `ALTER SYSTEM SET max_connections = ${row.most + more}, and restart the server; or lower DB_POOL_MAX`,
      },
      {
        what: `the limit of database ${row.database}`,
        free: row.of_database,
        of: String(row.of_database),
        remedy: () =>
          `ALTER DATABASE ${row.database} CONNECTION LIMIT ${needed + row.others}; or lower DB_POOL_MAX`,
      },
      {
        what: `the limit of role ${row.role}`,
        free: row.of_role,
        of: String(row.of_role),
        remedy: () => `ALTER ROLE ${row.role} CONNECTION LIMIT ${needed}; or lower DB_POOL_MAX`,
      },
    ]
    return free
      .filter((limit) => limit.free < needed && (limit.what === 'max_connections' || limit.free >= 0))
      .map(({ what, free: left, of, remedy }) =>
        warning(
          `${what} is ${of}: ${Math.max(0, left)} are left, and ${instances} ${instances === 1 ? 'instance' : 'instances'} of ${each} connections need ${needed} while blue and green run`,
          remedy(needed - left),
        ),
      )
  },
}

export const pool: Check = {
  name: 'pool',
  title: 'DB_POOL_MAX has a connection for each transactional handler, and some besides.',
  async run(context) {
    const { poolMax } = context.settings
    const handlers = transactionalHandlers(context.config().processors)
    const wanted = handlers + WORK_MARGIN
    if (poolMax === undefined || handlers === 0 || poolMax >= wanted) return []
    return [
      warning(
        `DB_POOL_MAX is ${poolMax}, and ${handlers} transactional handlers at once want ${wanted}: fewer run at once`,
        `DB_POOL_MAX=${wanted}, or a lower concurrency of the processors`,
      ),
    ]
  },
}
