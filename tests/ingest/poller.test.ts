import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import { createPoller } from '../../src/ingest/poller.ts'
import type { Poller } from '../../src/ingest/poller.ts'
import { recordedLog } from '../db/recordedLog.ts'
import { until } from '../support/until.ts'
import { createIntake, POLLER, sourceOf } from './fixture.ts'

const COMMON = {
  name: POLLER,
  everyMs: 1_000,
  pageSize: 10,
  maxAttempts: 1,
  instanceId: 'me',
  onInserted: () => undefined,
}

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
    ...COMMON,
    source,
    tick: {
      next: (signal) =>
        Promise.resolve(
          signal.aborted ? undefined : { dueAt: new Date(), cause: 'loop', done: () => Promise.resolve() },
        ),
    },
    slackMs: 0,
    log: {
      event(...line) {
        recorded.event(...line)
        if (recorded.of('poll_failed').length === FAILURES) over.abort()
        else poller.wake()
      },
      child: noChild,
      close: () => Promise.resolve(),
    },
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

/** With a slack, every pass may take so long to begin without looking like a step. */
const SLACK_MS = 1_000

test('a pass that failed after it had begun is not taken for a step of the clock by the one after it', async (t) => {
  const intake = await createIntake(t, 'CREATE TABLE s (id bigint, created_at timestamptz DEFAULT now())')
  const source = await intake.prepare(sourceOf('s'))
  const { holder, term, pass } = await intake.lead()
  const over = new AbortController()
  const recorded = recordedLog()
  const completed = (): number => recorded.of('poll_completed').length
  let completedAt = 0
  const poller: Poller = createPoller({
    db: intake.program,
    ...COMMON,
    source,
    tick: {
      async next() {
        // Twice: the first candidate of all cannot be closed.
        if (completed() === 2 && completedAt === 0) {
          completedAt = performance.now()
          await until(
            'the candidate to be newer than the slack',
            () => performance.now() - completedAt > 2 * SLACK_MS,
          )
          await intake.pool.query('ALTER TABLE s RENAME TO elsewhere')
        }
        return { dueAt: new Date(), cause: 'loop', done: () => Promise.resolve() }
      },
    },
    slackMs: SLACK_MS,
    log: {
      event(...line) {
        recorded.event(...line)
        if (recorded.of('poll_failed').length === 1 && completed() === 2)
          void intake.pool.query('ALTER TABLE IF EXISTS elsewhere RENAME TO s').catch(() => undefined)
        if (completed() === 3) over.abort()
      },
      child: noChild,
      close: () => Promise.resolve(),
    },
  })
  await poller.lead({
    holder,
    term,
    pass,
    createdEdge: null,
    signal: over.signal,
    refused: () => over.abort(),
  })
  assert.ok(recorded.of('poll_failed').length > 0)
  assert.equal(completed(), 3)
  assert.deepEqual(recorded.of('clock_stepped'), [])
})

function noChild(): never {
  throw new Error('a poller makes no child logs')
}
