import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { outside, short, since, time } from '../../../src/http/dashboard/view/text.ts'

describe('text from outside', () => {
  test('is escaped and keeps its direction to itself', async () => {
    assert.equal(
      String(await outside('<script>alert("1")</script>')),
      '<bdi>&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;</bdi>',
    )
  })

  test('shows by their numbers the characters that are hidden or turn what follows', async () => {
    const hidden = [
      '\u202e',
      '\u2066',
      '\u200f',
      '\u200b',
      '\ufeff',
      '\u0000',
      '\u001b',
      '\u00ad',
      '\u2028',
      '\ud800',
    ]
    for (const one of hidden) {
      const text = String(await outside(`a${one}b`))
      assert.ok(!text.includes(one), JSON.stringify(one))
      const number = one.charCodeAt(0).toString(16).padStart(4, '0')
      assert.ok(text.includes(`<span class="hidden-char">\\u${number}</span>`), text)
    }
    assert.ok(String(await outside('a\u{e0041}b')).includes('\\udb40\\udc41'))
  })

  test('is left alone where it is a language of people', async () => {
    for (const text of ['שלום', 'مرحبا', '日本語', 'naïve 👍🏽', 'tab\tand\nline'])
      assert.equal(String(await outside(text)), `<bdi>${text}</bdi>`)
  })

  test('is cut where it is long, and whole in its title', async () => {
    assert.match(String(await short('x'.repeat(50), 10)), /title="x{50}"[^>]*><bdi>x{10}<\/bdi>…/)
  })
})

describe('a time', () => {
  test('is told to the second in UTC, with its microseconds at hand', async () => {
    const text = String(await time('2026-03-01T09:00:00.123456+01:00'))
    assert.match(text, /title="2026-03-01T09:00:00.123456\+01:00"/)
    assert.match(text, />2026-03-01 08:00:00</)
  })

  test('before and after every other is said in words', async () => {
    assert.equal(String(await time('-infinity')), 'the beginning')
    assert.equal(String(await time('infinity')), 'never')
  })

  test('is told from now on where that says more', async () => {
    const now = '2026-03-01T08:00:00Z'
    assert.match(String(await since('2026-03-01T07:59:30Z', now)), />30 s ago</)
    assert.match(String(await since('2026-03-01T08:00:10Z', now)), />in 10 s</)
  })
})
