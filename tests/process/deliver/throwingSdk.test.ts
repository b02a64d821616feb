import assert from 'node:assert/strict'
import { test } from 'node:test'
import { findTracer } from '../../../src/telemetry/tracer.ts'
import { THROWING, throwingSdk } from '../../support/spans.ts'
import { until } from '../../support/until.ts'
import { delivering } from './fixture.ts'

for (const part of THROWING)
  test(`an OpenTelemetry SDK whose ${part} throws costs no delivery, and leaves no probe of a circuit behind`, async (t) => {
    const sdk = throwingSdk(t, part)
    const { send, target, processor, log } = await delivering(t, {
      circuit: { failures: 1, open: { baseMs: 50, maxMs: 100 } },
      concurrency: 1,
    })
    findTracer() // as whoever claims does
    target.react(() => 502)
    await send('a', 'b')
    processor.start()
    await until('the circuit to open', () => log.of('circuit_opened').length > 0)
    target.react(() => 200)
    await until('both to be done', () => log.of('message_done').length === 2)
    assert.equal(log.of('circuit_closed').length, 1)
    assert.ok(sdk.asked > 2, `asked ${sdk.asked} times`)
  })
