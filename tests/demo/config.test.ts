import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { startInstance } from '../support/instance.ts'
import { until } from '../support/until.ts'

test('the demo puts each decision into its packet exactly once, although one attempt in twenty fails', async (t) => {
  const database = await createDatabase(t)
  const pool = database.pool()
  const env = { DEMO_RATE: '50', MESSAGE_POLLER_INTERVAL_SECONDS: '1' }
  const instance = await startInstance(t, { databaseUrl: database.url, env })
  const enough = `SELECT FROM service_ops.integration_inbox WHERE status = 'DONE' HAVING count(*) > 100 AND max(attempts) > 1`
  await until(
    'a hundred decisions, some of them at a second attempt',
    async () => (await pool.query(enough)).rowCount === 1,
    120_000,
  )
  instance.kill('SIGTERM')
  assert.equal((await instance.exited).code, 0)
  // One snapshot of an instance that is gone.
  const { rows } = await pool.query(
    `SELECT (SELECT sum(decisions)::int FROM service_ops.decision_packet)
          - (SELECT count(*)::int FROM service_ops.integration_inbox WHERE status = 'DONE') AS decisions,
            (SELECT sum(score)::int FROM service_ops.decision_packet)
          - (SELECT sum((payload ->> 'score')::int)::int FROM service_ops.integration_inbox WHERE status = 'DONE') AS score,
            (SELECT count(*)::int FROM service_ops.integration_inbox WHERE status = 'PROCESSING') AS left_over`,
  )
  assert.deepEqual(rows, [{ decisions: 0, score: 0, left_over: 0 }])
})
