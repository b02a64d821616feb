import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { readMessagesQuery, timeOf } from '../../../src/http/dashboard/query.ts'

describe('a time in an address', () => {
  test('is taken in the forms of browsers and of ISO 8601', () => {
    assert.equal(timeOf('2026-03-01T08:00'), '2026-03-01T08:00Z')
    assert.equal(timeOf('2026-03-01T08:00:00.5+01:00'), '2026-03-01T08:00:00.5+01:00')
    assert.equal(timeOf(''), undefined)
  })

  test('of any other form is none, what Date.parse would guess at too', () => {
    for (const odd of [
      '2026-02-31T00:00',
      '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
      'Thu Nov  5 12:00:30 2026',
      '1',
      '\0',
    ])
      assert.equal(timeOf(odd), null, odd)
  })
})

test('what the database cannot read stands in no question to it', () => {
  const asked = readMessagesQuery('http://a/messages?q=a%00b&source=%00&source=or%00ders&key=%00&error=%00')
  assert.deepEqual(
    [asked.text, asked.sources, asked.groupKey, asked.error],
    ['ab', ['orders'], undefined, undefined],
  )
})
