import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { HandlerContext, Message } from '../../src/config/types.ts'
import type { Processor } from '../../src/process/processor.ts'
import { createDeliveries } from '../../src/runner/deliveries.ts'
import type { Way } from '../../src/runner/deliveries.ts'
import { recordedLog } from '../db/recordedLog.ts'
import { freePort } from '../support/port.ts'
import { newSecret } from '../support/receiver.ts'

test('processors of one target share its circuit: each is woken when it changes, and none of another target', async () => {
  const port = await freePort()
  const woken: string[] = []
  const ways = new Map<string, Way>()
  const deliveries = createDeliveries(recordedLog(), { circuit: { failures: 1 } })
  const make = (name: string, url: string): void => {
    deliveries.make(
      {
        name,
        from: [name],
        concurrency: 1,
        maxAttempts: 3,
        backoff: { baseMs: 1, maxMs: 1 },
        timeoutMs: 10_000,
        exclusive: false,
        slots: null,
        ordered: false,
        work: { kind: 'deliver', url, secrets: [newSecret()], timeoutMs: 5_000 },
      },
      (way) => {
        ways.set(name, way)
        // Nothing else of a processor is asked for here.
        return { wake: () => void woken.push(name) } as Processor
      },
    )
  }
  make('one', `http://127.0.0.1:${port}/a`)
  make('two', `http://127.0.0.1:${port}/b`)
  make('other', `http://localhost:${port}/a`)

  const { work } = ways.get('one')?.processor ?? assert.fail('it was not made')
  assert.ok(work.kind === 'external')
  const message: Message = {
    inboxId: '1',
    source: 'one',
    messageId: 'a',
    payload: {},
    groupKey: null,
    attempts: 1,
    maxAttempts: 3,
    traceId: 'a',
    sourceCreatedAt: null,
  }
  const context: HandlerContext = {
    signal: new AbortController().signal,
    traceId: 'a',
    traceHeaders: () => ({}),
    log: { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} },
    send: () => Promise.resolve(null),
  }
  await assert.rejects(async () => work.handle(message, context))

  assert.deepEqual(woken, ['one', 'two'])
  const halted = (name: string): boolean => ways.get(name)?.halted?.() !== undefined
  assert.deepEqual([halted('one'), halted('two'), halted('other')], [true, true, false])
  assert.deepEqual(
    deliveries.broken.map(({ target }) => target),
    [`http://127.0.0.1:${port}`],
  )
})
