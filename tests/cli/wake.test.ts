import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { tidemark } from './tidemark.ts'

test('`wake on` and `wake off` say what they did, and what was so already', async (t) => {
  const database = await createDatabase(t)
  await database.pool().query(
    `CREATE TABLE source (id int);
     INSERT INTO service_ops.background_task (id, task_name, kind, led, source_table, config_hash, release)
     VALUES (1, 'one', 'poller', true, 'public.source', '', '')`,
  )
  const wake = (...args: string[]) => tidemark(['wake', ...args], { env: { DATABASE_URL: database.url } })
  const on = await wake('on', 'one')
  assert.equal(on.code, 0, on.stderr)
  assert.equal(on.stdout, 'one: inserts into public.source wake it from now on\n')
  // The test server lets transactions be prepared.
  assert.match(on.stderr, /PREPARE TRANSACTION/)
  assert.equal((await wake('on', 'one')).stdout, 'one: inserts into public.source wake it already\n')
  const off = await wake('off', 'one', '--json')
  assert.deepEqual(JSON.parse(off.stdout), {
    poller: 'one',
    wake: false,
    changed: true,
    table: 'public.source',
  })
  assert.equal((await wake('off', 'one')).stdout, 'one: no insert wakes it\n')
  const { rows } = await database
    .pool()
    .query(
      `SELECT how, action, target, detail->>'table' AS source FROM service_ops.operator_action ORDER BY at`,
    )
  assert.deepEqual(rows, [
    { how: 'cli', action: 'wake on', target: 'one', source: 'public.source' },
    { how: 'cli', action: 'wake off', target: 'one', source: 'public.source' },
  ])

  const unknown = await wake('on', 'nobody')
  assert.equal(unknown.code, 1)
  assert.match(unknown.stderr, /there is no poller named "nobody"/)
  assert.equal((await wake('maybe', 'one')).code, 64)
})
