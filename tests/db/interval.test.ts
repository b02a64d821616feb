import assert from 'node:assert/strict'
import { test } from 'node:test'
import { interval } from '../../src/db/interval.ts'
import { createDatabase } from '../support/database.ts'

test('a span is what it was, from a microsecond to years, on every major', async (t) => {
  const sql = (await createDatabase(t, { migrated: false })).pool()
  for (const ms of [0, 0.001, 0.0000001, 1.5, 30_000, 2_592_000_000, 316_224_000_000]) {
    const { rows } = await sql.query<{ ms: number }>(
      'SELECT extract(epoch FROM $1::interval)::double precision * 1000 AS ms',
      [interval(ms)],
    )
    assert.ok(Math.abs((rows[0]?.ms ?? -1) - ms) < 0.001, `${ms} ms became ${rows[0]?.ms}`)
  }
})
