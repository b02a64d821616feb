/**
 * Handlers that leave a trace of each run, so that what was lost and doubled can be counted afterwards. They run inside the
 * processes of a rehearsal; everything else there is what `tidemark start` always runs.
 *
 * `transactional`: one row through the handler's own `tx`, which commits with DONE or not at all. `external` and batches:
 * a row before each run and its outcome after it, on a connection of its own: a run that its process did not live to end
 * has none. What cannot be recorded fails the run: an unseen run would make the count a lie.
 */
import type {
  BatchProcessorConfig,
  DeliveringProcessorConfig,
  ExternalProcessorConfig,
  Message,
  ProcessorConfig,
  TidemarkConfig,
  TransactionalProcessorConfig,
} from '../config/types.ts'
import { parseDuration } from '../config/durations.ts'
import type { Queryable } from '../db/pool.ts'
import { loadStatements } from '../db/statements.ts'
import { HandlerTimeout } from '../errors.ts'

const sql = loadStatements('rehearsal_handlers', ['effect', 'run_began', 'run_ended', 'failed'])

type RunOutcome = 'done' | 'failed' | 'interrupted'

/** Messages are counted in the inbox afterwards: none may be forgotten before. */
const RETENTION_LEAST_MS = 7 * 24 * 3_600_000

/** The same config, with handlers that record their runs in `db` as those of `machine`. */
export function observe(config: TidemarkConfig, db: Queryable, machine: string): TidemarkConfig {
  const { pollers = {}, processors = {} } = config
  return {
    ...config,
    pollers: mapValues(pollers, (poller) => ({
      ...poller,
      retention: Math.max(RETENTION_LEAST_MS, parseDuration(poller.retention ?? 0) ?? 0),
    })),
    processors: mapValues(processors, (processor) => observeProcessor(processor, db, machine)),
  }
}

function mapValues<T>(parts: Record<string, T>, change: (part: T) => T): Record<string, T> {
  return Object.fromEntries(Object.entries(parts).map(([name, part]) => [name, change(part)]))
}

function observeProcessor(processor: ProcessorConfig, db: Queryable, machine: string): ProcessorConfig {
  if ('deliver' in processor) return observeDelivery(processor, db, machine)
  if ('handleBatch' in processor) return { ...processor, handleBatch: observeBatch(processor, db, machine) }
  return processor.contract === 'transactional'
    ? { ...processor, handle: observeTransactional(processor, db, machine) }
    : { ...processor, handle: observeExternal(processor, db, machine) }
}

/** Nothing is sent: the rows are made up, and the target is somebody's real one. */
function observeDelivery(
  processor: DeliveringProcessorConfig,
  db: Queryable,
  machine: string,
): ExternalProcessorConfig {
  const handle = observeExternal({ handle: () => undefined }, db, machine)
  const stub: ExternalProcessorConfig = { ...processor, contract: 'external', handle }
  Reflect.deleteProperty(stub, 'deliver')
  return stub
}

function observeTransactional(
  { handle }: TransactionalProcessorConfig,
  db: Queryable,
  machine: string,
): TransactionalProcessorConfig['handle'] {
  return async (message, context) => {
    const { source, messageId } = message
    await context.tx.query(sql.effect, [source, messageId, machine])
    const settled = failureOnTimeout(context.signal, () => db.query(sql.failed, [[source], [messageId]]))
    try {
      await handle(message, context)
    } catch (error) {
      // After an abort the end of the handler is no news: the limit has been recorded, and an interruption is no failure.
      if (!context.signal.aborted) await db.query(sql.failed, [[source], [messageId]])
      throw error
    } finally {
      await settled()
    }
  }
}

function observeExternal(
  { handle }: Pick<ExternalProcessorConfig, 'handle'>,
  db: Queryable,
  machine: string,
): ExternalProcessorConfig['handle'] {
  return async (message, context) => {
    const run = await began(db, [message], machine)
    const settled = failureOnTimeout(context.signal, () => run.ended(['failed']))
    let outcome: RunOutcome = 'done'
    try {
      await handle(message, context)
    } catch (error) {
      outcome = 'failed'
      throw error
    } finally {
      await settled()
      if (!context.signal.aborted) await run.ended([outcome])
      else if (!(context.signal.reason instanceof HandlerTimeout)) await run.ended(['interrupted'])
    }
  }
}

function observeBatch(
  { handleBatch }: BatchProcessorConfig,
  db: Queryable,
  machine: string,
): BatchProcessorConfig['handleBatch'] {
  return async (messages, context) => {
    const run = await began(db, messages, machine)
    const all = (outcome: RunOutcome): RunOutcome[] => messages.map(() => outcome)
    const settled = failureOnTimeout(context.signal, () => run.ended(all('failed')))
    let outcomes = all('failed')
    try {
      const returned = await handleBatch(messages, context)
      outcomes = Array.isArray(returned)
        ? returned.map((one): RunOutcome => (one === 'done' ? 'done' : 'failed'))
        : all('done')
      return returned
    } finally {
      await settled()
      if (!context.signal.aborted) await run.ended(outcomes)
      else if (!(context.signal.reason instanceof HandlerTimeout)) await run.ended(all('interrupted'))
    }
  }
}

interface Run {
  ended(outcomes: readonly RunOutcome[]): Promise<void>
}

async function began(db: Queryable, messages: readonly Message[], machine: string): Promise<Run> {
  const { rows } = await db.query<{ run_id: string }>(sql.run_began, [...columns(messages), machine])
  const runs = rows.map(({ run_id: id }) => id)
  return {
    async ended(outcomes) {
      await db.query(sql.run_ended, [runs, outcomes])
      const failed = messages.filter((_, i) => outcomes[i] === 'failed')
      if (failed.length > 0) await db.query(sql.failed, columns(failed))
    },
  }
}

/** A batch may have messages of several sources. */
function columns(messages: readonly Message[]): [sources: string[], ids: string[]] {
  return [messages.map(({ source }) => source), messages.map(({ messageId }) => messageId)]
}

/** Records a failure when the time is up, since the handler may go on alone for long; call the result at its end. */
function failureOnTimeout(signal: AbortSignal, record: () => Promise<unknown>): () => Promise<void> {
  let recording: Promise<unknown> | undefined
  const onAbort = (): void => {
    if (signal.reason instanceof HandlerTimeout) recording = record().catch(() => undefined)
  }
  signal.addEventListener('abort', onAbort, { once: true })
  return async () => {
    signal.removeEventListener('abort', onAbort)
    await recording
  }
}
