import assert from 'node:assert/strict'
import { test } from 'node:test'
import { until } from '../support/until.ts'
import { inbox, processorOn, programPool } from './fixture.ts'
import { listened } from './listened.ts'

test('while every message is finished the clock looks without claiming, and what comes untold is claimed all the same', async (t) => {
  const box = await inbox(t)
  const pool = programPool(t, box.url)
  const asked = { claims: 0, looks: 0 }
  const counted = listened(pool, (text, ask) => {
    if (text.includes('SKIP LOCKED')) asked.claims += 1
    if (text.includes('first_open')) asked.looks += 1
    return ask()
  })
  const processor = processorOn(t, counted, { kind: 'external', handle: () => undefined })
  await box.send('first')
  processor.start()
  await box.become({ first: 'DONE 1' })
  // The first of them may be the one that finds it finished.
  const looks = asked.looks
  await until('looks', () => asked.looks >= looks + 2)
  const before = { ...asked, at: processor.state.lastClaimAt ?? 0 }
  await until('more of them', () => asked.looks >= before.looks + 2)
  assert.equal(asked.claims, before.claims)
  assert.ok((processor.state.lastClaimAt ?? 0) > before.at, 'it does not look as if it stood still')
  await box.send('untold')
  await box.become({ untold: 'DONE 1' })
  await box.send('told')
  const claims = asked.claims
  processor.wake()
  await until('the claim', () => asked.claims > claims)
  await box.become({ told: 'DONE 1' })
})
