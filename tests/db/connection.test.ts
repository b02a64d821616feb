import assert from 'node:assert/strict'
import { test } from 'node:test'
import { connectionConfig } from '../../src/db/connection.ts'

test('a client waits a little longer than the server’s limit: of a short one a fifth, so that a lease outlives the wait', () => {
  const waits = (statementTimeoutMs: number) =>
    connectionConfig({
      url: 'postgres://h/d',
      applicationName: 't',
      connectTimeoutMs: 1,
      limits: { statementTimeoutMs, lockTimeoutMs: 0, idleInTransactionMs: 0 },
    }).query_timeout
  assert.deepEqual([30_000, 5_000, 1_000, 0].map(waits), [32_000, 6_000, 1_500, undefined])
})
