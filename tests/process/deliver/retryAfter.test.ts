import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { LONGEST_RETRY_AFTER_MS, retryAfterMs } from '../../../src/process/deliver/retryAfter.ts'

const NOW = Date.parse('2026-11-26T12:00:00Z')
const of = (header: string | undefined, date?: string): number | undefined =>
  retryAfterMs(header, date, () => NOW)

describe('Retry-After', () => {
  test('in seconds', () => {
    assert.equal(of('0'), 0)
    assert.equal(of(' 120 '), 120_000)
  })

  test('as a date, in each of the three forms that HTTP knows', () => {
    assert.equal(of('Thu, 26 Nov 2026 12:00:30 GMT'), 30_000)
    assert.equal(of('Thursday, 26-Nov-26 12:00:30 GMT'), 30_000)
    assert.equal(of('Thu Nov 26 12:00:30 2026'), 30_000)
    assert.equal(of('Thu Nov  5 12:00:30 2026'), 0)
  })

  test('that is over means now', () => assert.equal(of('Thu, 26 Nov 2026 11:00:00 GMT'), 0))

  test("as a date is compared with the sender's own clock", () => {
    assert.equal(of('Thu, 26 Nov 2026 09:00:30 GMT', 'Thu, 26 Nov 2026 09:00:00 GMT'), 30_000)
    assert.equal(of('Thu, 26 Nov 2026 12:00:30 GMT', 'noon'), 30_000)
  })

  test('is bounded by a day', () => {
    assert.equal(LONGEST_RETRY_AFTER_MS, 86_400_000)
    assert.equal(of('9'.repeat(400)), LONGEST_RETRY_AFTER_MS)
    assert.equal(of('Fri, 31 Dec 9999 23:59:59 GMT'), LONGEST_RETRY_AFTER_MS)
  })

  for (const header of [
    undefined,
    '',
    '-1',
    '1.5',
    '1e3',
    'soon',
    '2026-11-26T12:00:30Z',
    '0x10',
    '5 s',
    'Thu, 99 Nov 2026 12:00:30 GMT',
  ])
    test(`is none: ${header}`, () => assert.equal(of(header), undefined))
})
