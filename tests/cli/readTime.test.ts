import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readTime } from '../../src/cli/poller.ts'
import { createDatabase } from '../support/database.ts'
import { tidemark } from './tidemark.ts'

const GOOD = [
  '2026-03-01T08:00Z',
  '2026-03-01T08:00:00.123456Z',
  '2024-02-29T23:59:59+0530',
  '0001-01-01T00:00:00+14:00',
  '9999-12-31T24:00:00-12:00',
  '2026-03-01T08:00:00-15:59',
]

const BAD = [
  '2026-13-26T00:00:00Z',
  '2026-00-10T00:00:00Z',
  '2026-02-30T00:00:00Z',
  '2026-01-00T00:00:00Z',
  '0000-01-01T00:00:00Z',
  '2026-01-01T25:00:00Z',
  '2026-01-01T10:60:00Z',
  '2026-01-01T10:00:60Z',
  '2026-01-01T10:00:00+16:00',
  '2026-01-01T10:00:00+05:60',
  '2026-01-01T10:00:00',
  '2026-01-01',
  'yesterday',
  '',
]

test('a time that is taken is one for PostgreSQL as well', async (t) => {
  const pool = (await createDatabase(t)).pool()
  for (const text of GOOD) await pool.query('SELECT $1::timestamptz', [readTime(text)])
})

test('any other is refused with the form that it has', () => {
  for (const text of BAD) assert.throws(() => readTime(text), /It is a time with its zone: 2026/, text)
})

test('and with its flag, as wrong usage, before anything else is looked at', async () => {
  for (const [verb, flag] of [
    ['replay', '--from'],
    ['replay', '--to'],
    ['reset', '--from'],
  ] as const) {
    for (const text of ['2026-13-26T00:00:00Z', '0000-01-01T00:00:00Z']) {
      const { code, stderr } = await tidemark([verb, 'letters', flag, text])
      assert.equal(code, 64, stderr)
      assert.match(
        stderr,
        new RegExp(`option '${flag} <time>' argument '${text}' is invalid. It is a time with`),
      )
    }
  }
})
