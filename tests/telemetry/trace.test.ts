import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  acceptTraceId,
  formatTraceparent,
  newTraceId,
  parseTraceparent,
  traceHeaders,
  traceIdOf,
} from '../../src/telemetry/trace.ts'

const TRACE = '0af7651916cd43dd8448eb211c80319c'
const PARENT = `00-${TRACE}-b7ad6b7169203331-01`

describe('a trace id', () => {
  test('that is fresh has 32 hex digits and is new each time', () => {
    assert.match(newTraceId(), /^[0-9a-f]{32}$/)
    assert.notEqual(newTraceId(), newTraceId())
  })

  test('from outside is taken when it is 1 to 128 of A-Za-z0-9._:-', () => {
    for (const good of ['a', 'A.b_c:d-9', 'x'.repeat(128)]) assert.equal(acceptTraceId(good), good)
    for (const bad of ['', 'x'.repeat(129), 'a b', 'a\n', 'ü', '"', 7, null]) {
      assert.equal(acceptTraceId(bad), undefined)
    }
  })

  test('is that of X-Trace-ID, else of traceparent, else fresh', () => {
    assert.equal(traceIdOf('mine', PARENT), 'mine')
    assert.equal(traceIdOf('not mine!', PARENT), TRACE)
    assert.match(traceIdOf(undefined, 'nonsense'), /^[0-9a-f]{32}$/)
  })
})

describe('traceparent', () => {
  test('is read and written', () => {
    const parsed = parseTraceparent(PARENT)
    assert.deepEqual(parsed, { traceId: TRACE, spanId: 'b7ad6b7169203331', sampled: true })
    assert.equal(formatTraceparent(parsed), PARENT)
  })

  test('of a later version is read, and with what is forbidden it is not', () => {
    assert.equal(parseTraceparent(`01-${TRACE}-b7ad6b7169203331-00-more`)?.sampled, false)
    for (const bad of [
      `ff-${TRACE}-b7ad6b7169203331-01`,
      `00-${TRACE}-b7ad6b7169203331-01-more`,
      `00-${'0'.repeat(32)}-b7ad6b7169203331-01`,
      `00-${TRACE}-${'0'.repeat(16)}-01`,
      PARENT.toUpperCase(),
      '',
    ]) {
      assert.equal(parseTraceparent(bad), undefined, bad)
    }
  })

  test('goes out only with a trace id of its own form', () => {
    assert.match(traceHeaders(TRACE)['traceparent'] ?? '', new RegExp(`^00-${TRACE}-[0-9a-f]{16}-01$`))
    assert.deepEqual(traceHeaders('order-7'), { 'X-Trace-ID': 'order-7' })
  })
})
