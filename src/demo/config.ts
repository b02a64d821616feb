import type { TidemarkConfig } from '../config/types.ts'
import type { Pool } from '../db/pool.ts'
import { loadStatements } from '../db/statements.ts'
import { wakeOn } from '../ingest/wakeTrigger.ts'
import { getOrCreate } from '../process/getOrCreate.ts'
import { withRowLock } from '../process/withRowLock.ts'
import { startDemo } from './traffic.ts'

const sql = loadStatements('demo_handlers', ['update_packet', 'digest', 'forget_digests'])

const POLLER = 'message_poller'
const SOURCE = 'service_ops.send_serviceops'

/** A drain waits longer, so none of the demo's handlers is cut off by a deploy. They take milliseconds. */
const LEAVES_WITHIN = '15s'

/** One attempt in this many fails on purpose, so that retries are seen. */
const FAIL_ONE_IN = 20

interface Decision {
  readonly patient_id: string
  readonly score: number
}

function isDecision(payload: unknown): payload is Decision {
  return typeof payload === 'object' && payload !== null && 'patient_id' in payload && 'score' in payload
}

/** The demo app: clinics send decisions, an exclusive processor collects them in packets. `pool` serves the cron job. */
export function demoConfig(pool: () => Pool | undefined): TidemarkConfig {
  return {
    pollers: {
      [POLLER]: {
        source: {
          table: SOURCE,
          id: 'message_id',
          createdAt: 'created_at',
          payload: 'payload',
          groupKey: 'clinic_id',
        },
        every: '10s',
      },
    },
    processors: {
      clinical_ops_processor: {
        from: POLLER,
        contract: 'transactional',
        exclusive: true,
        concurrency: 4,
        timeout: LEAVES_WITHIN,
        backoff: { base: '500ms', max: '5s' },
        async handle(message, { tx, log }) {
          if (!isDecision(message.payload)) throw new TypeError('the payload is no decision')
          const { patient_id: patientId, score } = message.payload
          const key = { clinic_id: message.groupKey, patient_id: patientId }
          const table = 'service_ops.decision_packet'
          const { row, created } = await getOrCreate(tx, { table, key })
          if (created) log.debug('a new packet', { patient_id: patientId })
          await withRowLock(tx, { table, key }, () => tx.query(sql.update_packet, [row['packet_id'], score]))
          if (Math.random() < 1 / FAIL_ONE_IN)
            throw new Error('the clinic did not answer (a failure on purpose)')
        },
      },
    },
    jobs: {
      inbox_digest: {
        cron: '* * * * *',
        timeout: LEAVES_WITHIN,
        async handle() {
          await pool()?.query(sql.digest)
          await pool()?.query(sql.forget_digests)
        },
      },
    },
  }
}

/** The demo as `start --demo` runs it: its config, and what is to be done before its tasks start. */
export function createDemo(): {
  config: TidemarkConfig
  /** `rate`: messages a second. */
  prepare(pool: Pool, rate: number): Promise<() => Promise<void>>
} {
  let pool: Pool | undefined
  return {
    config: demoConfig(() => pool),
    async prepare(work, rate) {
      pool = work
      const stop = await startDemo(work, rate)
      // Two that start together may meet here, and a busy table may refuse: the clock serves the demo as well.
      await wakeOn(work, POLLER, { table: SOURCE }).catch(() => undefined)
      return stop
    },
  }
}
