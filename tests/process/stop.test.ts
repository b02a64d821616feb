import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Interrupted } from '../../src/process/interruption.ts'
import { Stop } from '../../src/process/stop.ts'
import { hang } from './fixture.ts'

const timers = (): number => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length

test('a call that was told to end leaves no timer behind, though its work goes on', async () => {
  const before = timers()
  const stop = new Stop()
  const call = stop.within(60_000, hang)
  assert.equal(timers(), before + 1)
  stop.abort(new Interrupted('drain'))
  await assert.rejects(call, Interrupted)
  assert.equal(timers(), before)
  stop.lasts()
  assert.equal(timers(), before)
})
