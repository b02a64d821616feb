import { writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { Client } from 'pg'
import { migrate } from '../src/db/migrate.ts'
import { OWN_MAJOR } from '../tests/support/postgres.ts'
import { throwawayServer } from '../tests/support/server.ts'
import { listSchema } from './schema/listing.ts'

/*
 * npm run schema: migrates a fresh database and writes what is in it to sql/schema.txt, so that a change of the
 * schema is seen as such in review. `tests/schema.test.ts` fails when the file is out of date.
 */

const file = resolve(import.meta.dirname, '../sql/schema.txt')
const server = await throwawayServer(OWN_MAJOR)
try {
  const log = { event: () => undefined }
  await migrate({ url: server.url, log, lockWaitMs: 30_000, statementTimeoutMs: 120_000 })
  const client = new Client({ connectionString: server.url })
  try {
    await client.connect()
    writeFileSync(file, await listSchema(client, 'service_ops'))
  } finally {
    await client.end()
  }
} finally {
  await server.end()
}
