import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import { createPoller } from '../../src/ingest/poller.ts'
import type { Poller } from '../../src/ingest/poller.ts'
import { recordedLog } from '../db/recordedLog.ts'
import { createIntake, POLLER, sourceOf } from './fixture.ts'

/** Five failures in a row wait for 7.75 s together at least. */
const FAILURES = 5
const AT_ONCE_MS = 7_000

test('a pass that failed is tried again at once when the database is back, also when it is while the failure is recorded', async (t) => {
  const intake = await createIntake(t, 'CREATE TABLE s (id bigint, created_at timestamptz)')
  const source = await intake.prepare(sourceOf('s'))
  const over = new AbortController()
  const recorded = recordedLog()

  const poller: Poller = createPoller({
    db: { query: () => Promise.reject(new Error('timeout exceeded when trying to connect')) },
    name: POLLER,
    source,
    tick: {
      next: (signal) =>
        Promise.resolve(
          signal.aborted ? undefined : { dueAt: new Date(), cause: 'loop', done: () => Promise.resolve() },
        ),
    },
    slackMs: 0,
    everyMs: 1_000,
    pageSize: 10,
    maxAttempts: 1,
    instanceId: 'me',
    log: {
      event(...line) {
        recorded.event(...line)
        if (recorded.of('poll_failed').length === FAILURES) over.abort()
        else poller.wake()
      },
      child: noChild,
      close: () => Promise.resolve(),
    },
    onInserted: () => undefined,
  })
  const startedAt = performance.now()
  await poller.lead({
    holder: randomUUID(),
    term: '1',
    pass: '1',
    createdEdge: null,
    signal: over.signal,
    refused: () => undefined,
  })
  assert.equal(recorded.of('poll_failed').length, FAILURES)
  const tookMs = Math.round(performance.now() - startedAt)
  t.diagnostic(`${FAILURES} tries took ${tookMs} ms`)
  assert.ok(tookMs < AT_ONCE_MS)
})

function noChild(): never {
  throw new Error('a poller makes no child logs')
}
