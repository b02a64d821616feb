import type { TestDatabase } from './database.ts'
import type { Scope } from './scope.ts'

/** A role that may log in and nothing else, and the database's address for it. */
export async function plainRole(t: Scope, database: TestDatabase): Promise<{ role: string; url: string }> {
  const role = `plain_${database.name}`
  const admin = database.pool()
  await admin.query(`CREATE ROLE ${role} LOGIN PASSWORD 'x'`)
  t.after(async () => {
    await admin.query(`DROP OWNED BY ${role}; DROP ROLE ${role}`)
  })
  const url = new URL(database.url)
  url.username = role
  url.password = 'x'
  return { role, url: url.href }
}

/** Gives every right that an instance needs on these schemas. */
export function grants(role: string, ...schemas: string[]): string {
  return schemas
    .map(
      (schema) =>
        `GRANT USAGE ON SCHEMA ${schema} TO ${role}; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA ${schema} TO ${role};`,
    )
    .join('\n')
}
