import { randomUUID } from 'node:crypto'
import { Writable } from 'node:stream'
import { resolveConfig } from '../../../src/config/validate.ts'
import type { ProcessorConfig } from '../../../src/config/types.ts'
import { createPool } from '../../../src/db/pool.ts'
import type { Pool } from '../../../src/db/pool.ts'
import { watchPressure } from '../../../src/db/pressure.ts'
import { runPass } from '../../../src/ingest/pass.ts'
import type { PreparedSource } from '../../../src/ingest/sourceSql.ts'
import { createProcessor } from '../../../src/process/processor.ts'
import { Quarantine } from '../../../src/process/quarantine.ts'
import { createCounting } from '../../../src/runner/counting.ts'
import { createDeliveries } from '../../../src/runner/deliveries.ts'
import { registerAll } from '../../../src/runner/registration.ts'
import { takeOver } from '../../../src/tables/leader.ts'
import { createLog } from '../../../src/telemetry/log.ts'
import type { Log } from '../../../src/telemetry/log.ts'
import { SILENT_METER } from '../../../src/telemetry/metrics/meter.ts'
import type { BenchServer } from '../server.ts'
import { until } from '../until.ts'

/** The limits that `start` gives every connection. */
const LIMITS = { statementTimeoutMs: 30_000, lockTimeoutMs: 5_000, idleInTransactionMs: 10_000 }

/** As many connections as a process has by default. */
const POOL_MAX = 10

/** Rows that a poller finds may be so much older than their commit (runner/work.ts). */
const SLACK_MS = 5_000
const MAX_ATTEMPTS = 10

const INSTANCE = 'bench'

/** A log at the default level, sampled as always, into nothing: its lines are made, and cost what they cost. */
function discardingLog(): Log {
  const nothing = new Writable({ write: (_chunk, _encoding, done) => done() })
  return createLog({ service: 'bench', instanceId: INSTANCE, sink: nothing })
}

function openPool(server: Pick<BenchServer, 'url'>): Pool {
  return createPool({
    url: server.url,
    applicationName: `tidemark:${INSTANCE}`,
    connectTimeoutMs: 5_000,
    limits: LIMITS,
    max: POOL_MAX,
  })
}

/** A poller that leads, and can make one pass after another. */
export interface BenchPoller {
  /** Resolves to the rows read. */
  pass(): Promise<number>
  close(): Promise<void>
}

/** Registers a poller over `bench.source`, takes its lease, and is ready for the first pass. */
export async function leadingPoller(server: BenchServer, pageSize: number): Promise<BenchPoller> {
  const pool = openPool(server)
  const source = await register(pool, pageSize)
  const holder = randomUUID()
  const leadership = await takeOver(pool, 'bench', { holder, instanceId: INSTANCE }, 600_000, undefined)
  if (leadership?.pass == null) throw new Error('the lease of the bench was not free')
  const { term } = leadership
  let { pass } = leadership
  return {
    async pass() {
      const result = await runPass({
        db: pool,
        source,
        fence: { poller: 'bench', holder, term, pass },
        slackMs: SLACK_MS,
        sinceMs: 0,
        pageSize,
        maxAttempts: MAX_ATTEMPTS,
        signal: new AbortController().signal,
        onBegun: (begun) => {
          pass = begun
        },
        onInserted: () => undefined,
        onRefusedRow: (reason) => {
          throw new Error(`a row was refused: ${reason}`)
        },
        onRemade: () => undefined,
        onClockStepped: () => undefined,
      })
      if (result.outcome !== 'completed') throw new Error(`the pass was ${result.outcome}`)
      return result.rowsRead
    },
    close: () => pool.end(),
  }
}

async function register(pool: Pool, pageSize: number): Promise<PreparedSource> {
  const source = { table: 'bench.source', id: 'message_id', createdAt: 'created_at', payload: 'payload' }
  const config = resolveConfig({ pollers: { bench: { source, pageSize } } })
  const [registered] = (await registerAll(pool, config, 'bench', discardingLog())).pollers
  if (registered === undefined) throw new Error('the poller of the bench does not start')
  return registered.source
}

/** A processor that drains the inbox. */
export interface BenchProcessor {
  /** Starts it, and resolves when the outcomes of `messages` are written. */
  drain(messages: number): Promise<void>
  /** Starts it, for others to say when it is done. */
  start(): void
  /** Outcomes that are written. */
  readonly finished: number
  close(): Promise<void>
}

export async function drainingProcessor(
  server: Pick<BenchServer, 'url'>,
  config: ProcessorConfig,
  { instanceId = INSTANCE, counted = false }: { instanceId?: string; counted?: boolean } = {},
): Promise<BenchProcessor> {
  const pool = openPool(server)
  const resolved = resolveConfig({
    pollers: {
      bench: {
        source: { table: 'bench.source', id: 'message_id', createdAt: 'created_at', groupKey: 'kind' },
      },
    },
    processors: { bench_processor: config },
  })
  const counts = createCounting(resolved, discardingLog())
  const { log, meter } = counted
    ? { log: counts.log, meter: counts.counting.meter }
    : { log: discardingLog(), meter: SILENT_METER }
  const pressure = watchPressure(pool, log)
  const quarantine = new Quarantine()
  const deliveries = createDeliveries(log)
  const [processor] = resolved.processors.map((one) =>
    deliveries.make(one, (way) =>
      createProcessor({ pool, instanceId, pressure, quarantine, log, meter, ...way }),
    ),
  )
  if (processor === undefined) throw new Error('the bench has no processor')
  // Connections are made once in the life of a process, and bare SQL has its own before the clock starts.
  await Promise.all(Array.from({ length: POOL_MAX }, () => pool.query('SELECT 1')))
  return {
    async drain(messages) {
      processor.start()
      await until(
        'the end of its messages',
        () => processor.state.finished >= messages && processor.state.inWork === 0,
      )
      processor.stopClaiming()
    },
    start: () => processor.start(),
    get finished() {
      return processor.state.finished
    },
    async close() {
      await processor.stop()
      pressure.stop()
      await pool.end()
    },
  }
}
