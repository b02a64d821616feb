import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sayFailing } from '../../src/leader/sayFailing.ts'
import { recordedLog } from '../db/recordedLog.ts'

test('a loop that fails says so once and then now and again, and nothing while the database is away', () => {
  const log = recordedLog()
  const failed = sayFailing(log, 'beat', 'the heartbeat could not be written')
  const reset = Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' })
  for (let inARow = 1; inARow <= 45; inARow += 1) failed(reset, inARow)
  assert.deepEqual(log.names, [])
  for (let inARow = 1; inARow <= 45; inARow += 1) failed(new RangeError('no room'), inARow)
  assert.deepEqual(
    log.of('loop_failed').map(({ loop, text }) => [loop, text]),
    [1, 20, 40].map(() => ['beat', 'no room']),
  )
})
