import type { ProcessorConfig, TransactionalProcessorConfig } from '../../../src/config/types.ts'
import type { Contestant } from '../part.ts'
import type { BenchServer } from '../server.ts'
import { allDone, fillInbox, INBOX } from './inbox.ts'
import { drainingProcessor } from './tidemark.ts'

/** Messages in a call of `handleBatch`. */
export const BATCH = 1_000

/** A no-op that the processor has to wait for, as for every real handler. */
const noop = async (): Promise<void> => Promise.resolve()

/** Calls at once: batches, of which a no-op handler never has more than one; messages; transactions. */
export const AT_ONCE = { batched: 4, single: 24, transactional: 6 }

export const BATCHED: ProcessorConfig = {
  from: 'bench',
  contract: 'external',
  concurrency: AT_ONCE.batched,
  handleBatch: noop,
  batchSize: BATCH,
}

export const SINGLE: ProcessorConfig = {
  from: 'bench',
  contract: 'external',
  concurrency: AT_ONCE.single,
  handle: noop,
}

export const TRANSACTIONAL: TransactionalProcessorConfig = {
  from: 'bench',
  contract: 'transactional',
  concurrency: AT_ONCE.transactional,
  handle: noop,
}

export const SETTINGS = {
  batched: `handleBatch, batchSize ${BATCH}, concurrency ${AT_ONCE.batched}, pool of 10, defaults else`,
  single: `handle, concurrency ${AT_ONCE.single}, each awaited, pool of 10, defaults else`,
  transactional: `handle with tx, concurrency ${AT_ONCE.transactional}, pool of 10, defaults else`,
}

export const GUARANTEES = {
  external:
    'at least once into the handler, one outcome a message, fenced by its claim; retries with backoff, then dead letters; messages of a dead process come back by its missing heartbeats; finished rows stay',
  transactional:
    "the handler's writes and DONE in one transaction, so effects exactly once, fenced by its claim; retries with backoff, then dead letters; finished rows stay",
}

interface OwnDrain {
  readonly name: string
  readonly config: ProcessorConfig
  /** Messages have as many group keys. */
  readonly keys?: number
  /** With what an instance counts. Default: nothing is counted. */
  readonly counted?: boolean
  readonly settings?: string
  readonly guarantees?: string
}

/** Tidemark's processor in this process. */
export function ownDrain(
  server: BenchServer,
  rows: number,
  { name, config, keys, counted = false, ...told }: OwnDrain,
): Contestant {
  return {
    name,
    table: INBOX,
    ...told,
    async prepare() {
      const keyed = keys === undefined ? undefined : { keys, ordered: config.ordered === true }
      await fillInbox(server, keyed === undefined ? 'fill_inbox' : 'fill_keyed', rows, keyed)
      const processor = await drainingProcessor(server, config, { counted })
      const check = allDone(server, 'count_inbox', rows)
      return {
        run: () => processor.drain(rows),
        settled: check,
        close: () => processor.close(),
        check,
      }
    },
  }
}
