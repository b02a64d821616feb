import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createPoller } from '../../src/ingest/poller.ts'
import type { DuePass } from '../../src/ingest/tick.ts'
import { recordedLog } from '../db/recordedLog.ts'
import { createIntake, POLLER, sourceOf } from './fixture.ts'

test('the ledger has a row for due times that were missed and one for those that came during a pass, and why', async (t) => {
  const intake = await createIntake(t, 'CREATE TABLE s (id bigint, created_at timestamptz)')
  const source = await intake.prepare(sourceOf('s'))
  const fence = await intake.lead()
  const over = new AbortController()
  const due: DuePass[] = [
    { dueAt: new Date(), cause: 'job', missed: 3, coalesced: () => 1, done: () => Promise.resolve() },
  ]
  const poller = createPoller({
    db: intake.program,
    name: POLLER,
    everyMs: 60_000,
    pageSize: 10,
    maxAttempts: 1,
    instanceId: 'me',
    onInserted: () => undefined,
    source,
    tick: { next: () => Promise.resolve(due.pop()) },
    slackMs: 0,
    log: { ...recordedLog(), child: () => assert.fail(), close: () => Promise.resolve() },
  })
  await poller.lead({ ...fence, createdEdge: null, signal: over.signal, refused: () => undefined })
  const { rows } = await intake.pool.query<{ outcome: string; error: string | null }>(
    'SELECT outcome, error FROM service_ops.poll_run ORDER BY run_id',
  )
  assert.deepEqual(rows, [
    {
      outcome: 'missed',
      error: '3 due times went by without a leader that made its pass; the one after it makes up for all',
    },
    { outcome: 'coalesced', error: '1 due time came while a pass was under way, which stands for all' },
    { outcome: 'ran', error: null },
  ])
  // What people see as the newest pass is the pass.
  const newest = await intake.pool.query(
    'SELECT outcome FROM service_ops.poll_run ORDER BY started_at DESC LIMIT 1',
  )
  assert.deepEqual(newest.rows, [{ outcome: 'ran' }])
})
