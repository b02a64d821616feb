import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { startLoop } from '../../src/kit/loop.ts'
import { pause } from '../../src/kit/pause.ts'

test('a wait until what is already past is none, and Node has nothing to warn of', async (t) => {
  const warnings: Error[] = []
  const warned = (warning: Error): void => void warnings.push(warning)
  process.on('warning', warned)
  t.after(() => process.off('warning', warned))
  await pause(-0.01)
  const again = Promise.withResolvers<undefined>()
  let looks = 0
  const loop = startLoop({
    body() {
      looks += 1
      if (looks === 2) again.resolve(undefined)
      return Promise.resolve(60_000)
    },
    onError: () => 60_000,
  })
  await setImmediate()
  loop.wakeIn(-0.01)
  await again.promise
  await loop.stop()
  await setImmediate()
  assert.deepEqual(warnings, [])
})
