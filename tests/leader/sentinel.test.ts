import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { keepSentinel } from '../../src/leader/sentinel.ts'
import { createDatabase } from '../support/database.ts'
import { relay } from '../support/relay.ts'
import { until } from '../support/until.ts'

async function world(t: TestContext, heartbeatMs?: number) {
  const database = await createDatabase(t)
  const client = await database.client()
  const way = await relay(t, database.url)
  await way.open()
  const holder = randomUUID()
  const lost: unknown[] = []
  const sentinel = keepSentinel(
    {
      url: way.url,
      applicationName: 'tidemark:one',
      connectTimeoutMs: 1_000,
      startupOptions: true,
      limits: { statementTimeoutMs: 500, lockTimeoutMs: 500, idleInTransactionMs: 0 },
    },
    holder,
    (error) => void lost.push(error),
    heartbeatMs,
  )
  t.after(() => sentinel.close())
  const holders = async (): Promise<number[]> =>
    (
      await client.query<{ pid: number }>(
        `SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted
            AND (classid::bigint << 32) | objid::bigint = hashtextextended('tidemark:sentinel:' || $1::uuid, 0)`,
        [holder],
      )
    ).rows.map(({ pid }) => pid)
  await until('the sentinel to be held', () => sentinel.held)
  const [first] = await holders()
  assert.ok(first !== undefined)
  return { client, way, lost, sentinel, holders, first }
}

test('a sentinel whose connection is lost without a word takes its lock back from the session that the server kept', async (t) => {
  const { way, lost, sentinel, holders, first } = await world(t)
  way.freeze()
  await until('the loss to be noticed', () => lost.length > 0 && !sentinel.held)
  assert.deepEqual(await holders(), [first], 'the server knows nothing of it')
  way.thaw()
  await until('the sentinel to be held again', () => sentinel.held)
  const now = await holders()
  assert.equal(now.length, 1)
  assert.notEqual(now[0], first)
})

test('a sentinel that the server has ended without our being told is taken anew once it is seen free', async (t) => {
  const { client, way, lost, sentinel, holders, first } = await world(t, 3_600_000)
  const before = performance.now() - 60_000
  way.freeze()
  await client.query('SELECT pg_terminate_backend($1)', [first])
  await until('the lock to be free', async () => (await holders()).length === 0)
  way.thaw()
  sentinel.doubt(before)
  await holders()
  assert.deepEqual(lost, [], 'a look from before it was taken says nothing')
  sentinel.doubt(performance.now())
  await until('it to be taken anew', async () => (await holders()).length === 1)
  assert.equal(lost.length, 1)
})
