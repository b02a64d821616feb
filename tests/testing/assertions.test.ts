import assert, { AssertionError } from 'node:assert/strict'
import { describe, test } from 'node:test'
import { assertDead, assertDone, assertFailed } from '../../src/testing/index.ts'
import type { Outcome } from '../../src/testing/index.ts'

const outcome = (changes: Partial<Outcome>): Outcome => ({
  inboxId: '1',
  source: 'orders',
  messageId: '17',
  status: 'DONE',
  attempts: 1,
  maxAttempts: 10,
  interruptions: 0,
  error: undefined,
  nextAttemptAt: undefined,
  payload: {},
  groupKey: undefined,
  traceId: 't',
  processedAt: undefined,
  processor: 'packing',
  ran: true,
  thrown: undefined,
  ...changes,
})

describe('assertions on outcomes', () => {
  test('pass what is as it should be', () => {
    assertDone(outcome({}))
    assertFailed(outcome({ status: 'FAILED', error: 'Error: no tea' }), /tea/)
    assertDead(
      outcome({ status: 'DEAD', error: 'Error: cut', thrown: new Error('cut short, whole text') }),
      'whole text',
    )
  })

  test('say what it is instead, with what was thrown as the cause', () => {
    const thrown = new Error('no tea')
    const nextAttemptAt = new Date('2026-01-01T00:00:00Z')
    const failed = outcome({ status: 'FAILED', error: 'Error: no tea', thrown, nextAttemptAt })
    assert.throws(
      () => assertDone(failed),
      (error: unknown) => {
        assert.ok(error instanceof AssertionError)
        assert.match(
          error.message,
          /message 17 of orders is FAILED after attempt 1 of 10: Error: no tea; next attempt at 2026/,
        )
        assert.equal(error.cause, thrown)
        assert.deepEqual([error.actual, error.expected], ['FAILED', 'DONE'])
        assert.match(error.stack ?? '', /^[^\n]+\n\s+at .*assertions\.test\.ts/)
        return true
      },
    )
  })

  test('fail where the error is another, and where nothing was run', () => {
    assert.throws(
      () => assertFailed(outcome({ status: 'FAILED', error: 'Error: no tea' }), /cups/),
      /an error like \/cups\/.*no tea/,
    )
    assert.throws(() => assertDone(undefined), /nothing was due/)
    assert.throws(() => assertDead(outcome({})), /is DONE/)
  })
})
