/* A test process of somebody's: makes a database, says so, and ends or stays, as its environment says. */
import { testDatabase } from '../../src/testing/index.ts'

const { SCHEMA: schema, STAYS: stays } = process.env
const database = await testDatabase(schema === undefined ? {} : { schema })
const { rows } = await database.query<{ port: string; postmaster: string }>(
  `SELECT current_setting('port') AS port, pg_postmaster_start_time()::text AS postmaster`,
)
process.stdout.write(`${JSON.stringify({ name: database.name, ...rows[0] })}\n`)
if (stays === undefined) await database.close()
else setInterval(() => undefined, 60_000)
