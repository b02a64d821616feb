import { test } from 'node:test'
import { until } from '../support/until.ts'
import { hang, inbox, processorOn, programPool } from './fixture.ts'
import { listened } from './listened.ts'

test('a message that is claimed again before the answer to its outcome is in work until its new handler ends', async (t) => {
  const { url, send, become } = await inbox(t)
  await send('a')
  const heldUp = Promise.withResolvers<undefined>()
  let runs = 0
  let isAnswered = false
  const pool = listened(programPool(t, url), async (text, ask) => {
    const result = await ask()
    if (text.includes('o.final')) {
      await heldUp.promise
      isAnswered = true
    }
    return result
  })
  const handle = (): Promise<never> => {
    runs += 1
    if (runs === 1) throw new Error('not now')
    return hang()
  }
  const processor = processorOn(t, pool, { kind: 'external', handle })
  processor.start()
  await until('its second handler', () => {
    processor.wake()
    return runs === 2
  })
  heldUp.resolve(undefined)
  await until('the answer', () => isAnswered && processor.state.finished === 1)
  await processor.drain(0)
  await become({ a: 'FAILED 1 +1' })
})
