import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Message } from '../../src/config/types.ts'
import type { Scope } from '../support/scope.ts'
import { until } from '../support/until.ts'
import { inbox, processorOn, programPool, SOURCE } from './fixture.ts'
import type { Choices } from './fixture.ts'

/** An inbox with messages of keys, and processors whose handlers end when the test says so. */
async function keyed(t: Scope) {
  const box = await inbox(t)
  const send = async (key: string | null, ...ids: readonly string[]): Promise<void> => {
    await box.sql.query(
      `INSERT INTO service_ops.integration_inbox (source, message_id, group_key, payload, trace_id)
       SELECT $1, u, $3, '{}', u FROM unnest($2::text[]) u`,
      [SOURCE, ids, key],
    )
  }
  return { ...box, send }
}

/** A processor whose handlers begin, and end when they are let. */
function held(t: Scope, url: string, choices: Choices, instanceId = 'one') {
  const begun: string[] = []
  const open = new Map<string, (error?: Error) => void>()
  const handle = ({ messageId }: Message): Promise<void> =>
    new Promise((resolve, reject) => {
      begun.push(messageId)
      open.set(messageId, (error) => {
        open.delete(messageId)
        if (error === undefined) resolve()
        else reject(error)
      })
    })
  const processor = processorOn(
    t,
    programPool(t, url),
    { kind: 'external', handle },
    { concurrency: 10, ...choices },
    instanceId,
  )
  const end = (id: string, error?: Error): void => {
    const one = open.get(id)
    assert.ok(one, `${id} is not in work`)
    one(error)
  }
  return { processor, begun, open, end, log: processor.log }
}

describe('slots', () => {
  test('two instances have no more messages of a key in work than it has slots, and every one in the end', async (t) => {
    const { url, send, become } = await keyed(t)
    await send('a', 'a1', 'a2', 'a3', 'a4')
    await send('b', 'b1')
    await send(null, 'n1', 'n2', 'n3')
    const choices = { slots: { perKey: 2 } }
    const [one, two] = [held(t, url, choices, 'one'), held(t, url, choices, 'two')]
    one.processor.start()
    two.processor.start()
    const all = (): string[] => [...one.begun, ...two.begun].sort()
    await until('what has room', () => all().length === 6)
    await until('another look of both', () => true)
    assert.deepEqual(all(), ['a1', 'a2', 'b1', 'n1', 'n2', 'n3'])
    for (const who of [one, two]) for (const id of [...who.open.keys()]) if (id === 'a1') who.end(id)
    await until('a3', () => all().includes('a3'))
    assert.equal(all().includes('a4'), false)
    for (;;) {
      for (const who of [one, two]) for (const id of [...who.open.keys()]) who.end(id)
      if (all().length === 8) break
      await until('the next', () => one.open.size + two.open.size > 0)
    }
    for (const who of [one, two]) for (const id of [...who.open.keys()]) who.end(id)
    await become({ a1: 'DONE 1', a2: 'DONE 1', a3: 'DONE 1', a4: 'DONE 1', n3: 'DONE 1' })
  })
})
