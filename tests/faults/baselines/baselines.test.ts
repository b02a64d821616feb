import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runFault } from '../run.ts'
import { COMPARED } from './faults.ts'

const [fault] = COMPARED.filter(({ name }) => name === 'long_transactions')

test('on the same stage, under the same writers, a naive poller loses rows and Tidemark loses none', async (t) => {
  assert.ok(fault !== undefined)
  const naive = await runFault(fault, 1, { program: 'naive' })
  t.diagnostic(`naive: ${naive.lost} of ${naive.rows} lost`)
  assert.ok(naive.lost > 0, 'a suite that finds nothing here could find nothing anywhere')
  assert.deepEqual(
    naive.broken.filter((text) => !text.startsWith('no_effect_is_missing:')),
    [],
  )
  const ours = await runFault(fault, 1)
  assert.deepEqual(ours.broken, [])
  assert.equal(ours.lost + ours.doubled + ours.burned, 0)
})
