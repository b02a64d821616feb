import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { quoteIdentifier, quoteQualified, splitQualified } from '../../src/db/identifier.ts'
import { IdentifierInvalid } from '../../src/errors.ts'

describe('quoting of names', () => {
  test('a name is quoted with its quotes doubled, so that it cannot end early', () => {
    assert.equal(quoteIdentifier('message_id'), '"message_id"')
    assert.equal(quoteIdentifier('say "hi"; DROP'), '"say ""hi""; DROP"')
  })

  test('schema and table are quoted apart', () => {
    assert.equal(quoteQualified('service_ops.send_serviceops'), '"service_ops"."send_serviceops"')
    assert.equal(quoteQualified('Orders'), '"Orders"')
  })

  test('parts with dots and quotes are written as in SQL', () => {
    assert.deepEqual(splitQualified('"a.b"."say ""hi"""'), ['a.b', 'say "hi"'])
    assert.equal(quoteQualified('"a.b"."c"'), '"a.b"."c"')
    assert.equal(quoteQualified('plain."odd.table"'), '"plain"."odd.table"')
  })

  test('what SQL could not read is refused', () => {
    for (const text of ['', '.', 'a.', '.a', 'a..b', 'a.b.c', '"open', '"a"b', 'a"b', '""', 'zero\0byte']) {
      assert.throws(() => quoteQualified(text), IdentifierInvalid, JSON.stringify(text))
    }
  })

  test('a name that PostgreSQL would cut is refused', () => {
    assert.equal(quoteIdentifier('x'.repeat(63)).length, 65)
    assert.throws(() => quoteIdentifier('x'.repeat(64)), IdentifierInvalid)
    assert.throws(() => quoteIdentifier('ä'.repeat(32)), IdentifierInvalid)
  })
})
