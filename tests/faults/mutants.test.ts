import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { RunScope } from './scope.ts'
import { build, runMutant, SUITE_MUTANTS } from './mutants.ts'

/** `npm run test:long`: those too that take half a minute. */
const LONG = process.env['TIDEMARK_LONG'] === '1'

describe('the fault suite goes red on a build without its safeguard', () => {
  for (const mutant of SUITE_MUTANTS) {
    const skip = mutant.isLong === true && !LONG ? 'it takes half a minute: npm run test:long' : false
    test(`${mutant.name}: ${mutant.why}`, { skip }, async (t) => {
      const { caught, seen } = await runMutant(mutant)
      t.diagnostic(`${mutant.fault}, seed ${mutant.seed}: ${seen}`)
      assert.ok(caught, `${mutant.name} survived ${mutant.fault}: ${seen}`)
    })
  }
})

test('a mutant whose patch does not fit its file is an error, not a sound build', async () => {
  const scope = new RunScope()
  const patches = [{ file: 'sql/queries/inbox.sql', from: 'no such text', to: '' }]
  assert.throws(() => build(scope, { name: 'unfit', patches }), /unfit: .* 0 times, not 1 times/)
  assert.deepEqual(await scope.end(), [])
})
