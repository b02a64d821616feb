import assert from 'node:assert/strict'
import { test } from 'node:test'
import { stripVTControlCharacters } from 'node:util'
import { sourceTable } from '../../src/cli/commands/rehearse/report.ts'
import type { SourceCount } from '../../src/rehearse/count.ts'

const NONE = { count: 0, first: [] }
const SOURCE: SourceCount = {
  poller: 'orders',
  contract: 'external',
  written: 120,
  taken_in: 120,
  done: 120,
  dead: 0,
  discarded: 0,
  retrying: 0,
  lost: NONE,
  doubled: NONE,
  run_again: NONE,
  attempts_burned: NONE,
  given_up: [],
  passes: 9,
  longest_silence_ms: 1500,
  every_ms: 1000,
}

test('counts by source are a row each, or a block each on a terminal that is too narrow', () => {
  const lines = (columns: number | undefined): string[] =>
    stripVTControlCharacters(sourceTable([SOURCE, { ...SOURCE, poller: 'mails' }], columns)).split('\n')
  assert.equal(lines(undefined).length, 3)
  assert.deepEqual(lines(200), lines(undefined))
  const narrow = lines(60)
  assert.ok(narrow.every((line) => line.length <= 60))
  for (const line of [/^poller +orders$/, /^written +120$/, /^poller +mails$/, /^silence +1\.5 s/])
    assert.ok(
      narrow.some((one) => line.test(one)),
      narrow.join('\n'),
    )
})
