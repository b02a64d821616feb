import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { runInNewContext } from 'node:vm'
import { errorCode } from '../../src/kit/errorCode.ts'

test('the code of a failed call is known, whichever Error its realm has', () => {
  const thrownBy = (work: () => unknown): unknown => {
    try {
      return work()
    } catch (error) {
      return error
    }
  }
  assert.equal(errorCode(thrownBy(() => readFileSync('/no/such/file'))), 'ENOENT')
  const other: unknown = runInNewContext(`Object.assign(new Error('gone'), { code: 'ENOENT' })`)
  assert.ok(!(other instanceof Error))
  assert.equal(errorCode(other), 'ENOENT')
  const without = [undefined, null, 'ENOENT', new Error('x'), { code: 7 }]
  for (const none of without) assert.equal(errorCode(none), undefined)
})
