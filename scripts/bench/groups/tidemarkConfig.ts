import { defineConfig } from '../../../src/index.ts'
import type { ExternalProcessorConfig, Message, PollerConfig } from '../../../src/index.ts'
import { AT_ONCE, ATTEMPTS, BATCH, BATCHES, BATCHES_AT_ONCE, LIMIT, SINGLES } from './load.ts'
import { openVisits } from './visits.ts'
import type { Visitor } from './visits.ts'

/** The config file of Tidemark's processes. */

const { DATABASE_URL = '', BENCH_NAME = '' } = process.env
const visit = openVisits(DATABASE_URL, 'Tidemark', BENCH_NAME)

const poller = (table: string): PollerConfig => ({
  source: { table, id: 'id', createdAt: 'created_at', groupKey: 'tenant' },
  every: '1s',
})

const limited = {
  slots: { perKey: LIMIT },
  maxAttempts: ATTEMPTS,
} satisfies Partial<ExternalProcessorConfig>

function visitor({ messageId, groupKey, payload }: Message): Visitor {
  const { work_ms: workMs } = payload as { work_ms: number }
  return { message: messageId, tenant: groupKey ?? '', workMs }
}

export const config = defineConfig({
  pollers: { [SINGLES]: poller('bench.group_single'), [BATCHES]: poller('bench.group_batch') },
  processors: {
    bench_one: {
      ...limited,
      from: SINGLES,
      contract: 'external',
      concurrency: AT_ONCE,
      handle: (message) => visit([visitor(message)]),
    },
    bench_many: {
      ...limited,
      from: BATCHES,
      concurrency: BATCHES_AT_ONCE,
      batchSize: BATCH,
      handleBatch: (messages) => visit(messages.map(visitor)),
    },
  },
})
