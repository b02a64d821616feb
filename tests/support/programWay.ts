import { OWNER as SUPERUSER } from '../../src/db/embedded/cluster.ts'
import type { PoolOptions } from '../../src/db/pool.ts'
import { SERVER_VARIABLE } from './server.ts'

/*
 * How the program under test comes to a test's database: as which role, and past what.
 *
 * By its own hands a test does everything as the superuser and directly: it makes the tables, looks, and breaks things. What
 * it starts (processes, runners, pools of the program's) goes the way that the run was told to:
 *
 *     TIDEMARK_TEST_ROLE=runner                      as the roles of sql/roles.sql: the owner migrates, the runner works
 *     TIDEMARK_TEST_POOLER=transaction | session     DATABASE_URL leads through PgBouncer, DIRECT_DATABASE_URL does not
 *
 * In a database that a test migrates itself (`migrated: false`) the owner does both: nothing is there that could be given
 * to anybody. A test that names a role or an address of its own gets what it names.
 */

export const ROLE_VARIABLE = 'TIDEMARK_TEST_ROLE'
export const POOLER_VARIABLE = 'TIDEMARK_TEST_POOLER'
/** Set by scripts/test.ts: where the run's PgBouncer listens. */
export const POOLER_PORT_VARIABLE = 'TIDEMARK_TEST_POOLER_PORT'

export const OWNER_ROLE = 'tidemark_owner'
export const RUNNER_ROLE = 'tidemark_runner'

/** What a process is started for: `own` migrates, makes tables or triggers; `work` is the rest. */
export type Duty = 'work' | 'own'

/** Whether this run has the program work as the least-privileged role. */
export function asRunner(): boolean {
  return process.env[ROLE_VARIABLE] === 'runner'
}

/** The reason of a test that cannot hold as the runner's role; false in every other run. */
export function skipAsRunner(reason: string): string | false {
  return asRunner() && `as the runner's role: ${reason}`
}

/** Databases of this process's tests, and who works in each. */
const workers = new Map<string, string>()

/** Says of a new database whether its tables are there, so that the runner can work in it. */
export function noteDatabase(name: string, migrated: boolean): void {
  workers.set(name, migrated ? RUNNER_ROLE : OWNER_ROLE)
}

/** The same address for the role that this duty is done as. The roles have the superuser's password. */
export function programUrl(url: string, duty: Duty = 'work'): string {
  const address = testsAddress(url)
  if (!asRunner() || address?.username !== SUPERUSER) return url
  address.username = duty === 'own' ? OWNER_ROLE : (workers.get(databaseOf(address)) ?? OWNER_ROLE)
  return address.href
}

/** The addresses for a process that is given this one. */
export function programEnv(
  url: string,
  duty: Duty = 'work',
): { DATABASE_URL: string; DIRECT_DATABASE_URL?: string } {
  const direct = programUrl(url, duty)
  const port = process.env[POOLER_PORT_VARIABLE]
  // Through a relay, or past another PgBouncer, a test means what it says.
  if (port === undefined || testsAddress(url) === undefined || !isOfServer(url))
    return { DATABASE_URL: direct }
  const pooled = new URL(direct)
  pooled.port = port
  return { DATABASE_URL: pooled.href, DIRECT_DATABASE_URL: direct }
}

/** The same for a pool of the program's own, which must know what stands before it. */
export function programPoolWay(url: string): Pick<PoolOptions, 'url' | 'startupOptions' | 'ownSession'> {
  const { DATABASE_URL: way, DIRECT_DATABASE_URL: direct } = programEnv(url)
  if (direct === undefined) return { url: way }
  return { url: way, startupOptions: false, ownSession: process.env[POOLER_VARIABLE] !== 'transaction' }
}

/** An address of a test's own database, as the superuser or one of the three roles; undefined for any other. */
function testsAddress(url: string): URL | undefined {
  const address = URL.parse(url)
  if (address === null || !workers.has(databaseOf(address))) return undefined
  return USERS.has(address.username) ? address : undefined
}

const USERS: ReadonlySet<string> = new Set([SUPERUSER, OWNER_ROLE, RUNNER_ROLE])

function isOfServer(url: string): boolean {
  const server = process.env[SERVER_VARIABLE]
  return server !== undefined && new URL(server).host === new URL(url).host
}

function databaseOf(address: URL): string {
  return address.pathname.slice(1)
}
