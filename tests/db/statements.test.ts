import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { fillIdentifiers, loadStatements, splitStatements } from '../../src/db/statements.ts'
import { SqlFileInvalid } from '../../src/errors.ts'

describe('statement files', () => {
  test('a file is split at its name lines, with comments kept', () => {
    const text = '-- about the table\n\n-- name: one\n-- why\nSELECT 1\n\n-- name: two\nSELECT\n  2;\n'
    assert.deepEqual(
      [...splitStatements(text, 'x.sql')],
      [
        ['one', '-- why\nSELECT 1'],
        ['two', 'SELECT\n  2;'],
      ],
    )
  })

  test('Windows line ends read the same', () => {
    assert.deepEqual([...splitStatements('-- name: one\r\nSELECT 1\r\n', 'x.sql')], [['one', 'SELECT 1']])
  })

  test('a repeated, empty or nameless statement, and SQL before the first name, are refused', () => {
    for (const text of [
      '-- name: a\nSELECT 1\n-- name: a\nSELECT 2',
      '-- name: a\n\n-- name: b\nSELECT 1',
      '-- name:\nSELECT 1',
      'SELECT 1\n-- name: a\nSELECT 1',
    ]) {
      assert.throws(() => splitStatements(text, 'x.sql'), SqlFileInvalid, text)
    }
  })

  test('a missing or an unused statement is refused with file and name', () => {
    assert.throws(
      () => loadStatements('invariant', ['are_kept', 'sync', 'nope']),
      /sql\/queries\/invariant\.sql.*nope/,
    )
    assert.throws(() => loadStatements('invariant', []), /sql\/queries\/invariant\.sql.*sync/)
  })

  test('loaded statements cannot be changed', () => {
    assert.ok(Object.isFrozen(loadStatements('invariant', ['are_kept', 'sync'])))
  })
})

describe('identifiers in statements', () => {
  test('placeholders are filled everywhere, and values with dollar signs stay as they are', () => {
    const text = 'SELECT :"id" FROM :"table" WHERE :"id" > $1 AND note = \':"not closed\''
    assert.equal(
      fillIdentifiers(text, { table: '"a"."$&b"', id: '"id"' }),
      'SELECT "id" FROM "a"."$&b" WHERE "id" > $1 AND note = \':"not closed\'',
    )
  })

  test('a placeholder without a value and a value without a placeholder are refused', () => {
    assert.throws(() => fillIdentifiers('SELECT :"id"', {}), /:"id"/)
    assert.throws(() => fillIdentifiers('SELECT 1', { id: '"id"' }), /no place for id/)
  })
})
