import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { testServerUrl } from '../support/database.ts'
import { SERVER_VARIABLE } from '../support/server.ts'
import { play, TARGETS } from './play.ts'

/** The short form of `npm run fuzz`, always with the same values. FUZZ_SEED chooses others. */
const SEED = Number(process.env['FUZZ_SEED'] ?? 1)
const SHORT_MS = 1_000

describe('what reads outside input neither breaks nor hangs', { concurrency: 2 }, () => {
  for (const target of TARGETS)
    test(`${target.name}: ${target.what}`, async (t) => {
      process.env[SERVER_VARIABLE] ??= await testServerUrl()
      const { runs, found } = await play(target, SEED, SHORT_MS)
      t.diagnostic(`${runs} runs`)
      assert.equal(found, undefined, `again: npm run fuzz -- --only ${target.name} --seed ${SEED}\n${found}`)
      assert.ok(runs > 10, `${runs} runs`)
    })
})

test('a reader that breaks is found, with the least value that shows it', async () => {
  const broken = await play(
    {
      name: 'broken',
      what: 'a reader of texts',
      open: () =>
        Promise.resolve({
          property: fc.property(fc.string(), (text) => {
            if (text.includes('%')) decodeURIComponent('%')
          }),
        }),
    },
    1,
    5_000,
  )
  assert.match(broken.found ?? '', /Counterexample: \["%"\]/)
})
