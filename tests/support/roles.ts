import { readFileSync } from 'node:fs'
import { Client } from 'pg'
import { sqlPath } from '../../src/db/folder.ts'
import { migrateBoss } from '../../src/jobs/schema.ts'
import { OWNER_ROLE, RUNNER_ROLE } from './programWay.ts'

/** The file as it is given to administrators. */
export const ROLES_SQL = readFileSync(sqlPath('roles.sql'), 'utf8')

export const READER_ROLE = 'tidemark_reader'

/** A database with the three roles, and its address for each of them. */
export interface RoleUrls {
  readonly owner: string
  readonly runner: string
  readonly reader: string
}

/**
 * Makes the three roles, and gives them what is there: as often as wanted. `url`: of a superuser, whose password they get.
 * The roles are the server's, and test files are at work beside each other: one at a time.
 */
export async function applyRoles(url: string, sources: readonly string[] = []): Promise<RoleUrls> {
  const server = new URL(url)
  server.pathname = '/postgres'
  await connected(server.href, async (lock) => {
    await lock.query(`SELECT pg_advisory_lock(hashtextextended('roles', 0))`)
    await connected(url, async (admin) => {
      await admin.query(`SELECT set_config('tidemark.sources', $1, false)`, [sources.join(', ')])
      await admin.query(ROLES_SQL)
      const password = admin.escapeLiteral(decodeURIComponent(server.password))
      for (const role of [OWNER_ROLE, RUNNER_ROLE, READER_ROLE])
        await admin.query(`ALTER ROLE ${role} PASSWORD ${password}`)
    })
  })
  return { owner: as(url, OWNER_ROLE), runner: as(url, RUNNER_ROLE), reader: as(url, READER_ROLE) }
}

/** pg-boss's schema, which `tidemark migrate` makes after ours. */
export async function migrateBossForTest(url: string): Promise<void> {
  await connected(url, migrateBoss)
}

/**
 * What a test makes by its own hands, as the superuser, is somebody else's table to the program: it may read a source, and
 * its handlers write to theirs, and `wake on` makes a trigger. Which is which, only the test knows.
 */
export async function giveTestsTables(admin: Client, superuser: string): Promise<void> {
  await admin.query(`
    ALTER DEFAULT PRIVILEGES FOR ROLE ${superuser} GRANT USAGE ON SCHEMAS TO ${OWNER_ROLE}, ${RUNNER_ROLE};
    ALTER DEFAULT PRIVILEGES FOR ROLE ${superuser} GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO ${OWNER_ROLE}, ${RUNNER_ROLE};
    ALTER DEFAULT PRIVILEGES FOR ROLE ${superuser} GRANT TRIGGER ON TABLES TO ${OWNER_ROLE};
    ALTER DEFAULT PRIVILEGES FOR ROLE ${superuser} GRANT USAGE ON SEQUENCES TO ${OWNER_ROLE}, ${RUNNER_ROLE}`)
}

function as(url: string, role: string): string {
  const address = new URL(url)
  address.username = role
  return address.href
}

/** A connection for as long as the work takes. */
export async function connected(url: string, work: (client: Client) => Promise<unknown>): Promise<void> {
  const client = new Client({ connectionString: url, application_name: 'tidemark-tests' })
  client.on('error', () => undefined)
  try {
    await client.connect()
    await work(client)
  } finally {
    await client.end()
  }
}
