import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { testServerUrl } from '../support/database.ts'
import { SERVER_VARIABLE } from '../support/server.ts'
import { FAULTS } from './all.ts'
import { runFault } from './run.ts'

/**
 * The short form of `npm run faults`: those faults that show most in least time, each with one seed. FAULT_SEED chooses
 * another.
 */
const SHORT = FAULTS.filter(({ inShortForm }) => inShortForm === true)
const SEED = Number(process.env['FAULT_SEED'] ?? 1)

// Beside one another: much of their time is waiting.
describe('nothing is lost, nothing done twice', { concurrency: 2 }, () => {
  for (const fault of SHORT) {
    test(`${fault.title} (${fault.name}, seed ${SEED})`, async (t) => {
      process.env[SERVER_VARIABLE] ??= await testServerUrl()
      const run = await runFault(fault, SEED)
      t.diagnostic(
        `${run.rows} rows, ${run.lost} lost, ${run.doubled} doubled, ${run.ranAgain} ran again, ${run.burned} burned, ` +
          `${run.staleRefused} refused, silence ${run.silenceMs} ms`,
      )
      assert.deepEqual(run.broken, [], `again: npm run faults -- --only ${fault.name} --seed ${SEED}`)
    })
  }
})
