import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { Quarantine } from '../../src/process/quarantine.ts'
import { until } from '../support/until.ts'
import { inbox, INSTANCE, processorOn, programPool } from './fixture.ts'
import type { Work } from './fixture.ts'
import { listened } from './listened.ts'

/* A processor that an operator has paused. */

async function world(t: TestContext, work: Work) {
  const box = await inbox(t)
  const pool = programPool(t, box.url)
  let paused = false
  /** What the answer of a claim waits for, on its way from the database. */
  const claimed = { answer: Promise.resolve<undefined>(undefined) }
  const slow = listened(pool, async (text, ask) => {
    const result = await ask()
    if (text.includes('SKIP LOCKED') && result.rows.length > 0) await claimed.answer
    return result
  })
  const processor = processorOn(t, slow, work, {}, INSTANCE, new Quarantine(), () => paused)
  return {
    ...box,
    claimed,
    processor,
    set: (value: boolean): void => {
      paused = value
      processor.wake()
    },
    /** Waits until it has looked, and left the claim out, this often. */
    looks: async (times: number): Promise<void> => {
      for (let i = 0; i < times; i += 1) {
        const before = processor.state.lastClaimAt ?? 0
        processor.wake()
        await until('the next look', () => (processor.state.lastClaimAt ?? 0) > before)
      }
    },
  }
}

test('claims nothing while it is paused, what is in work goes on to its end, and the rest follows at the resume', async (t) => {
  const end = Promise.withResolvers<undefined>()
  const begun: string[] = []
  const handle = async (message: { messageId: string }): Promise<void> => {
    begun.push(message.messageId)
    if (message.messageId === 'long') await end.promise
  }
  const { processor, send, set, become, looks } = await world(t, { kind: 'external', handle })
  await send('long')
  processor.start()
  await until('it to begin', () => begun.length === 1)
  set(true)
  await looks(1)
  await send('waits')
  await looks(3)
  end.resolve(undefined)
  await become({ long: 'DONE 1', waits: 'NEW 0' })
  await looks(3)
  assert.deepEqual(begun, ['long'])
  set(false)
  await become({ waits: 'DONE 1' })
  assert.deepEqual(processor.log.of('message_interrupted'), [])
})

test('what a claim brings that was on its way is given back unrun, and costs neither an attempt nor a place in the count', async (t) => {
  const begun: string[] = []
  const handle = (message: { messageId: string }): void => void begun.push(message.messageId)
  const { sql, processor, send, set, become, claimed } = await world(t, { kind: 'external', handle })
  const answer = Promise.withResolvers<undefined>()
  claimed.answer = answer.promise
  await send('one')
  processor.start()
  await become({ one: 'PROCESSING 1' })
  set(true)
  answer.resolve(undefined)
  await become({ one: 'NEW 0 +1' })
  assert.deepEqual(
    processor.log.of('message_interrupted').map(({ reason }) => reason),
    ['paused'],
  )
  const { rows } = await sql.query('SELECT interruptions_in_a_row AS n FROM service_ops.integration_inbox')
  assert.deepEqual([begun, rows], [[], [{ n: 0 }]])
  set(false)
  await become({ one: 'DONE 1 +1' })
})
