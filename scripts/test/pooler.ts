import { startPgbouncer, type PgBouncer } from '../../tests/support/pgbouncer.ts'
import { OWNER_ROLE, RUNNER_ROLE } from '../../tests/support/programWay.ts'

/**
 * One PgBouncer for a whole run. Whom the program comes as, it says by its address: the superuser, or a role of
 * sql/roles.sql, which the tests give the superuser's password.
 */
export function startRunsPooler(url: string, mode: 'transaction' | 'session'): Promise<PgBouncer> {
  const server = new URL(url)
  const password = decodeURIComponent(server.password)
  const names = [decodeURIComponent(server.username), OWNER_ROLE, RUNNER_ROLE]
  return startPgbouncer(
    url,
    mode,
    names.map((name) => ({ name, password })),
  )
}
