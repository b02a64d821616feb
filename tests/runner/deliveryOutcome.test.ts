import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  DeliveryBroken,
  DeliveryFailed,
  DeliveryRefused,
  DeliveryTimeout,
  DeliveryUnreachable,
} from '../../src/errors.ts'
import { Interrupted } from '../../src/process/interruption.ts'
import { told } from '../../src/runner/deliveryOutcome.ts'
import type { DeliveryOutcome } from '../../src/telemetry/metrics/meter.ts'

const SHOWN = { url: 'https://example.com' }
const unreachable = new DeliveryUnreachable('no route', SHOWN, undefined)

const ENDS: readonly (readonly [DeliveryOutcome, Error | undefined])[] = [
  ['delivered', undefined],
  ['refused', new DeliveryRefused(422, 'no', SHOWN)],
  ['failed', new DeliveryFailed(500, 'no', SHOWN)],
  ['timeout', new DeliveryTimeout(1_000, SHOWN)],
  ['broken', new DeliveryBroken('reset', SHOWN, undefined)],
  ['unreachable', unreachable],
  ['unreachable', new Interrupted('target not reached', { cause: unreachable })],
  ['held', new Interrupted('circuit open')],
  ['interrupted', new Interrupted('drain')],
]

test('each delivery is told once, in one word, and ends as it would have', async () => {
  for (const [outcome, error] of ENDS) {
    const seen: DeliveryOutcome[] = []
    const deliver = told(
      () => (error === undefined ? Promise.resolve() : Promise.reject(error)),
      (one) => seen.push(one),
    )
    // Neither is looked at: the delivery is given what its processor gives it.
    const ended = await deliver({} as never, {} as never).then(
      () => undefined,
      (thrown: unknown) => thrown,
    )
    assert.deepEqual(seen, [outcome])
    assert.equal(ended, error)
  }
})
