import { createProcessor } from '../../../src/process/processor.ts'
import type { Processor } from '../../../src/process/processor.ts'
import { Quarantine } from '../../../src/process/quarantine.ts'
import type { Pool } from '../../../src/db/pool.ts'
import { watchPressure } from '../../../src/db/pressure.ts'
import { createDeliveries } from '../../../src/runner/deliveries.ts'
import type { Deliveries, DeliveriesOptions } from '../../../src/runner/deliveries.ts'
import { receiver } from '../../support/receiver.ts'
import type { Receiver } from '../../support/receiver.ts'
import type { Scope } from '../../support/scope.ts'
import type { RecordedLog } from '../../db/recordedLog.ts'
import { inbox, programPool, recordingLog, SOURCE, stopBefore } from '../fixture.ts'

export interface Choices {
  readonly concurrency?: number
  readonly timeoutMs?: number
  readonly maxAttempts?: number
  readonly backoff?: { readonly baseMs: number; readonly maxMs: number }
  /** Made of the receiver's. Default: that one. */
  readonly url?: (ofReceiver: string) => string
  readonly tls?: { readonly cert: string; readonly key: string }
  /** Secrets besides the receiver's. */
  readonly more?: readonly string[]
  readonly circuit?: DeliveriesOptions['circuit']
  /** Stands between the processor and its database. */
  readonly slow?: (pool: Pool) => Pool
}

/** Never open: what a test says of attempts is then about its message alone. */
export const NO_CIRCUIT = { failures: Number.POSITIVE_INFINITY }

/** An inbox, a receiver, and a processor that delivers from the one to the other. */
export async function delivering(scope: Scope, choices: Choices = {}) {
  const letters = await inbox(scope)
  const target = await receiver(scope, choices.tls)
  const pool = programPool(scope, letters.url)
  const { log, recorded } = recordingLog()
  const pressure = watchPressure(pool, log)
  const deliveries = createDeliveries(log, { circuit: choices.circuit })
  const processor = deliveries.make(
    {
      name: 'sender',
      from: [SOURCE],
      concurrency: choices.concurrency ?? 4,
      maxAttempts: choices.maxAttempts ?? 3,
      backoff: choices.backoff ?? { baseMs: 20, maxMs: 40 },
      timeoutMs: choices.timeoutMs ?? 10_000,
      exclusive: false,
      slots: null,
      ordered: false,
      work: {
        kind: 'deliver',
        url: choices.url?.(target.url) ?? target.url,
        secrets: [target.secret, ...(choices.more ?? [])],
        timeoutMs: choices.timeoutMs ?? 10_000,
      },
    },
    (way) =>
      createProcessor({
        pool: choices.slow?.(pool) ?? pool,
        instanceId: 'this-instance',
        pressure,
        quarantine: new Quarantine(),
        log,
        ...way,
      }),
  )
  stopBefore(scope, pool, async () => {
    await processor.drain(0)
    await processor.stop()
    pressure.stop()
  })
  return { ...letters, target, processor, deliveries, log: recorded } satisfies {
    target: Receiver
    processor: Processor
    deliveries: Deliveries
    log: RecordedLog
  }
}
