import { randomBytes } from 'node:crypto'
import { Client, Pool, type PoolConfig } from 'pg'
import { OWNER as SUPERUSER } from '../../src/db/embedded/cluster.ts'
import { migrate } from '../../src/db/migrate.ts'
import { asRunner, noteDatabase, OWNER_ROLE, programEnv, programUrl } from './programWay.ts'
import { applyRoles, connected, giveTestsTables, migrateBossForTest } from './roles.ts'
import { atEnd, type Scope } from './scope.ts'
import { until } from './until.ts'

/** A database of one test; it is dropped when the test ends. */
export interface TestDatabase {
  readonly name: string
  /** As the superuser, directly: for the test's own hands, and for what goes by way of programWay.ts. */
  readonly url: string
  /** As the program under test comes, directly. */
  readonly programUrl: string
  /** A pool that is closed before the database is dropped. A fresh one each call. */
  pool(config?: PoolConfig): Pool
  /** The same, as the program under test comes: past what stands before it, too. */
  programPool(config?: PoolConfig): Pool
  /** A connection of its own, connected; closed before the database is dropped. */
  client(): Promise<Client>
}

export interface TestDatabaseOptions {
  /** False: an empty database, for tests of migrations. Default: true. */
  readonly migrated?: boolean
}

const TEMPLATE = 'template_migrated'

let template: Promise<void> | undefined

/**
 * A fresh database, copied from a migrated template. At the end of the test its pools are closed and it is dropped;
 * the test fails when connections are left that it should have closed.
 */
export async function createDatabaseOn(
  server: string,
  scope: Scope,
  options: TestDatabaseOptions = {},
): Promise<TestDatabase> {
  const name = `test_${randomBytes(6).toString('hex')}`
  const { migrated = true } = options
  // The roles are made with the template, and once for the whole server.
  if (migrated || asRunner()) await (template ??= migratedTemplate(server))
  await asAdmin(server, (admin) =>
    admin.query(`CREATE DATABASE ${name} TEMPLATE ${migrated ? TEMPLATE : 'template0'}`),
  )
  const url = withDatabase(server, name)
  noteDatabase(name, migrated)
  if (!migrated && asRunner()) await makeOwned(server, name)
  const open: (Pool | Client)[] = []
  atEnd(scope, () => dispose(server, name, open))
  const openPool = (config?: PoolConfig): Pool => {
    const pool = new Pool(config)
    // Tests end backends on purpose; without a listener the event would end the process.
    pool.on('error', () => undefined)
    pool.on('connect', (client) => client.on('error', () => undefined))
    open.push(pool)
    return pool
  }
  return {
    name,
    url,
    programUrl: programUrl(url),
    pool: (config) => openPool({ connectionString: url, ...config }),
    programPool: (config) => openPool({ connectionString: programEnv(url).DATABASE_URL, ...config }),
    async client() {
      const client = new Client({ connectionString: url })
      client.on('error', () => undefined)
      await client.connect()
      open.push(client)
      return client
    },
  }
}

async function dispose(server: string, name: string, open: readonly (Pool | Client)[]): Promise<void> {
  await Promise.all(open.map(async (lent) => ('ending' in lent && lent.ending ? undefined : lent.end())))
  await asAdmin(server, async (admin) => {
    const left = await connectionsLeft(admin, name)
    await rollBackPrepared(admin, server, name)
    await admin.query(`DROP DATABASE ${name} WITH (FORCE)`)
    if (left.length > 0) throw new Error(`The test left connections open:\n${left.join('\n')}`)
  })
}

/** Backends end a moment after their clients: only what stays is left open. */
async function connectionsLeft(admin: Client, name: string): Promise<string[]> {
  let left: string[] = []
  const none = async (): Promise<boolean> => {
    const { rows } = await admin.query<{ line: string }>(
      `SELECT format('  %s (pid %s, %s): %s', application_name, pid, state, left(regexp_replace(query, '\\s+', ' ', 'g'), 160)) AS line
       FROM pg_stat_activity WHERE datname = $1 AND backend_type = 'client backend'`,
      [name],
    )
    left = rows.map(({ line }) => line)
    return left.length === 0
  }
  await until('connections to close', none, 15_000).catch(() => undefined)
  return left
}

/** A prepared transaction has no connection that could be closed, and no database can be dropped under one. */
async function rollBackPrepared(admin: Client, server: string, name: string): Promise<void> {
  const { rows } = await admin.query<{ gid: string }>(
    'SELECT gid FROM pg_prepared_xacts WHERE database = $1',
    [name],
  )
  if (rows.length === 0) return
  await connected(withDatabase(server, name), async (client) => {
    for (const { gid } of rows) await client.query(`ROLLBACK PREPARED ${client.escapeLiteral(gid)}`)
  })
}

/** Makes the template when this server has none yet; several test files may ask at once. */
async function migratedTemplate(server: string): Promise<void> {
  await asAdmin(server, async (admin) => {
    await admin.query(`SELECT pg_advisory_lock(hashtextextended('template', 0))`)
    const { rowCount } = await admin.query('SELECT FROM pg_database WHERE datname = $1 AND datistemplate', [
      TEMPLATE,
    ])
    if (rowCount !== 0) return
    // One that is there without the mark was left half made by a test file that was killed.
    await admin.query(`DROP DATABASE IF EXISTS ${TEMPLATE} WITH (FORCE)`)
    await admin.query(`CREATE DATABASE ${TEMPLATE} TEMPLATE template0`)
    if (asRunner()) await migrateByOwner(withDatabase(server, TEMPLATE))
    else await migrateForTest(withDatabase(server, TEMPLATE))
    await admin.query(`ALTER DATABASE ${TEMPLATE} WITH IS_TEMPLATE true ALLOW_CONNECTIONS false`)
  })
}

/** As docs/roles.md says it: the roles, the migrations by the owner, and the roles' file once more for what those made. */
async function migrateByOwner(url: string): Promise<void> {
  const { owner } = await applyRoles(url)
  await migrateForTest(owner)
  await migrateBossForTest(owner)
  await applyRoles(url)
  await connected(url, (admin) => giveTestsTables(admin, SUPERUSER))
}

/** An empty database that the owner's role is to migrate. */
async function makeOwned(server: string, name: string): Promise<void> {
  await asAdmin(server, (admin) => admin.query(`ALTER DATABASE ${name} OWNER TO ${OWNER_ROLE}`))
  await connected(withDatabase(server, name), (admin) => giveTestsTables(admin, SUPERUSER))
}

/** Our own migrations, as `tidemark migrate` runs them; pg-boss's schema is not among them. */
export async function migrateForTest(url: string): Promise<void> {
  const log = { event: () => undefined }
  await migrate({ url, log, lockWaitMs: 30_000, statementTimeoutMs: 120_000 })
}

async function asAdmin(server: string, work: (admin: Client) => Promise<unknown>): Promise<void> {
  await connected(withDatabase(server, 'postgres'), work)
}

function withDatabase(server: string, name: string): string {
  const url = new URL(server)
  url.pathname = `/${name}`
  return url.href
}
