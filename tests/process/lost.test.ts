import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Client } from 'pg'
import { reclaimFromLost } from '../../src/process/reclaim.ts'
import { createPool } from '../../src/db/pool.ts'
import { createDatabase } from '../support/database.ts'
import { until } from '../support/until.ts'
import { recordingLog } from './fixture.ts'

test('who has messages but no record is dead only when it has no session either: the records may have been lost', async (t) => {
  const { url } = await createDatabase(t)
  const pool = createPool({
    url,
    applicationName: 'tidemark:here',
    connectTimeoutMs: 5_000,
    limits: { statementTimeoutMs: 5_000, lockTimeoutMs: 0, idleInTransactionMs: 0 },
    max: 2,
  })
  t.after(() => pool.end())
  const owner = new Client({ connectionString: url, application_name: 'tidemark:there' })
  await owner.connect()
  await pool.query(`
    INSERT INTO service_ops.integration_inbox (source, message_id, payload, trace_id, status, locked_by, claim, attempts)
    VALUES ('letters', 'a', '{}', 'a', 'PROCESSING', 'there', 1, 1)`)
  const status = async (): Promise<string | undefined> =>
    (await pool.query<{ status: string }>('SELECT status FROM service_ops.integration_inbox')).rows[0]?.status
  const { log } = recordingLog()
  await reclaimFromLost(pool, log)
  assert.equal(await status(), 'PROCESSING')
  await owner.end()
  await until('it to be taken back', async () => {
    await reclaimFromLost(pool, log)
    return (await status()) !== 'PROCESSING'
  })
})
