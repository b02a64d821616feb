import { after } from 'node:test'
import { createDatabaseOn } from './databaseOn.ts'
import type { TestDatabase, TestDatabaseOptions } from './databaseOn.ts'
import type { Scope } from './scope.ts'
import { SERVER_VARIABLE, throwawayServer, type ThrowawayServer } from './server.ts'

export { migrateForTest } from './databaseOn.ts'
export type { TestDatabase, TestDatabaseOptions } from './databaseOn.ts'

let own: Promise<ThrowawayServer> | undefined

// A file that is run alone has no server of the whole run: it starts one when first asked, and stops it at its end.
after(async () => {
  await (await own)?.end()
})

/** Address of the test server, as superuser, in its database `tidemark` (which tests leave alone). */
export async function testServerUrl(): Promise<string> {
  const shared = process.env[SERVER_VARIABLE]
  if (shared !== undefined) return shared
  own ??= throwawayServer()
  return (await own).url
}

/** A fresh database on the test server; see {@link createDatabaseOn}. */
export async function createDatabase(scope: Scope, options: TestDatabaseOptions = {}): Promise<TestDatabase> {
  return createDatabaseOn(await testServerUrl(), scope, options)
}
