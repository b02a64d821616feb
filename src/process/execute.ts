/**
 * One message, one handler call, one result.
 *
 * `transactional`: the outcome is the *first* statement of the message's own transaction, so a claim that is no longer
 * ours ends it before the handler runs, and COMMIT makes the handler's writes and DONE one. A COMMIT whose answer was
 * lost is `interrupted`: if it did happen, the give-back finds no row.
 *
 * The handler's time is up, or the instance must stop: its signal aborts, its backend is ended, its connection
 * destroyed. A handler that does not listen goes on alone; nothing that it does with `tx` reaches the database any more.
 * A pause of the process is not the handler's time (kit/limit.ts).
 */
import type { ResolvedProcessor } from '../config/resolved.ts'
import type { HandlerContext, Message, SendOptions, TransactionalContext } from '../config/types.ts'
import { preparing } from '../db/pool.ts'
import type { Pool, PoolClient, Queryable } from '../db/pool.ts'
import type { Pressure } from '../db/pressure.ts'
import { CONNECTION_STATES, READ_TIMEOUT_TEXT, sqlState } from '../db/sqlstate.ts'
import { withTransaction } from '../db/transaction.ts'
import type { Backend } from '../db/transaction.ts'
import { DeliveryRefused, HandlerTimeout, NotRunning } from '../errors.ts'
import { writeDoneFirst } from '../tables/inbox.ts'
import { handlerLog } from '../telemetry/log.ts'
import type { Log } from '../telemetry/log.ts'
import { traceHeaders } from '../telemetry/trace.ts'
import { handlerTx } from './handlerTx.ts'
import type { HandlerTx } from './handlerTx.ts'
import type { InWork } from './inWork.ts'
import { Interrupted } from './interruption.ts'
import type { Interruption, InterruptionDetail } from './interruption.ts'
import type { HandlerCall, Stop } from './stop.ts'

export type Result =
  | { readonly kind: 'done' }
  /** DONE was committed together with the handler's own writes. */
  | { readonly kind: 'committed' }
  | { readonly kind: 'failed'; readonly error: unknown }
  /** Failed so that it is no use to try again. */
  | { readonly kind: 'dead'; readonly error: unknown }
  /** Ended through no fault of the message. */
  | ({ readonly kind: 'interrupted'; readonly reason: Interruption } & InterruptionDetail)
  /** The claim is somebody else's: nothing may be written. */
  | { readonly kind: 'not ours' }

export interface ExecuteOptions {
  readonly pool: Pool
  readonly pressure: Pressure
  readonly instanceId: string
  readonly task: string
  readonly timeoutMs: number
  /** Sends a job, within `db` when there is one. */
  readonly send?: (job: string, data: unknown, options: SendOptions, db?: Queryable) => Promise<string | null>
  readonly log: Log
}

/**
 * Our own limit must come first: a session that the server ended would look like a lost connection, which costs no attempt.
 * After a pause that is right.
 */
const IDLE_MARGIN_MS = 2_000

/**
 * Ends a backend whose connection is being given up; a query in it would otherwise run on (and hold its locks). Behind a
 * pooler it may serve somebody else by now, so only while it is in that very transaction.
 */
const END_BACKEND =
  'SELECT pg_terminate_backend(a.pid) FROM pg_catalog.pg_stat_activity a WHERE a.pid = $1 AND extract(epoch FROM a.xact_start)::text = $2'

function resultOf(error: unknown): Result {
  if (error instanceof Interrupted) {
    const { reason, waitMs, cause } = error
    return { kind: 'interrupted', reason, waitMs, cause }
  }
  return { kind: error instanceof DeliveryRefused ? 'dead' : 'failed', error }
}

/** What few handlers ask for is made when it is asked for: log and signal cost more than a small handler does. */
function contextFor(
  options: ExecuteOptions,
  message: Message,
  call: HandlerCall,
  db?: Queryable,
): HandlerContext {
  let log: HandlerContext['log'] | undefined
  return {
    get log() {
      const bindings = { task: options.task, trace_id: message.traceId, message_id: message.messageId }
      return (log ??= handlerLog(options.log, bindings))
    },
    get signal() {
      return call.signal
    },
    traceId: message.traceId,
    traceHeaders: () => traceHeaders(message.traceId),
    // A job that a message sends is part of the message's story.
    send: async (job, data, how) => {
      if (options.send === undefined) throw new NotRunning()
      return options.send(job, data, { traceId: message.traceId, ...how }, db)
    },
  }
}

/** `external`: the handler's effects are its own; DONE is written afterwards. */
export function executeExternal(
  options: ExecuteOptions,
  handle: (message: Message, context: HandlerContext) => unknown,
  { message }: InWork,
  stop: Stop,
): Promise<Result> {
  return stop
    .within(options.timeoutMs, (call) => handle(message, contextFor(options, message, call)), 'when it lasts')
    .then(() => DONE, resultOf)
}

const DONE: Result = { kind: 'done' }

class NotOurs extends Error {
  override readonly name = 'NotOurs'
}

export async function executeTransactional(
  options: ExecuteOptions,
  handle: (ResolvedProcessor['work'] & { kind: 'transactional' })['handle'],
  { claim, message }: InWork,
  stop: Stop,
): Promise<Result> {
  const { pool, pressure, instanceId, timeoutMs } = options
  const returned = pressure.lend()
  const link: { broken: boolean; backend?: Backend } = { broken: false }
  let lent: PoolClient | undefined
  let lentTx: HandlerTx | undefined
  const onBroken = (): void => {
    link.broken = true
  }
  try {
    await stop.within(timeoutMs, (call) =>
      withTransaction(
        pool,
        async (client) => {
          lent = client
          client.once('end', onBroken).once('error', onBroken)
          const idleMs = timeoutMs + IDLE_MARGIN_MS
          const own = preparing(client, pool.ownSession !== false)
          const backend = await writeDoneFirst(own, instanceId, claim, idleMs)
          if (backend === undefined) throw new NotOurs()
          link.backend = backend
          const tx = handlerTx(client)
          lentTx = tx
          await handle(message, {
            ...contextFor(options, message, call, tx.client),
            tx: tx.client,
          } satisfies TransactionalContext)
          tx.revoke()
          if (tx.refused !== undefined) throw tx.refused
        },
        {
          signal: call.signal,
          retire: () => lentTx?.stained === true,
        },
      ),
    )
    return { kind: 'committed' }
  } catch (error) {
    lentTx?.revoke()
    if (error instanceof NotOurs) return { kind: 'not ours' }
    // Before the connection is looked at: ending it is our answer to the limit, not its cause.
    if (error instanceof Interrupted || error instanceof HandlerTimeout) await endBackend(pool, link.backend)
    if (error instanceof Interrupted) return resultOf(error)
    if (lent === undefined) {
      pressure.refused(error)
      return { kind: 'interrupted', reason: 'no connection to be had' }
    }
    if (!(error instanceof HandlerTimeout) && (link.broken || saysConnectionLost(error)))
      return { kind: 'interrupted', reason: 'database connection lost' }
    // What the handler never saw cannot be its message's fault, whatever kept it waiting.
    return link.backend !== undefined
      ? { kind: 'failed', error }
      : { kind: 'interrupted', reason: 'its transaction could not begin' }
  } finally {
    returned()
    lent?.removeListener('end', onBroken).removeListener('error', onBroken)
  }
}

/** Errors of our own connection, by state or by node-postgres's words; a handler's other connections have theirs. */
function saysConnectionLost(error: unknown): boolean {
  const state = sqlState(error) ?? ''
  if (CONNECTION_STATES.has(state) || state.startsWith('08')) return true
  if (!(error instanceof Error)) return false
  // The server's limit comes first, so this is a silent server, or this process has stood still: no fault of a message.
  return error.message === READ_TIMEOUT_TEXT || /not queryable|^Connection terminated/.test(error.message)
}

async function endBackend(pool: Pool, backend: Backend | undefined): Promise<void> {
  if (backend === undefined) return
  await pool.query(END_BACKEND, [backend.pid, backend.since]).catch(() => undefined)
}

/** `handleBatch`: one call for many. When it throws, each message is run again alone. */
export async function executeBatch(
  options: ExecuteOptions,
  handle: (ResolvedProcessor['work'] & { kind: 'batch' })['handle'],
  batch: readonly InWork[],
  stop: Stop,
): Promise<Result[]> {
  const [first] = batch
  if (first === undefined) return []
  const call = (messages: readonly InWork[], lead: InWork): Promise<Result[]> =>
    stop.within(options.timeoutMs, async (call) => {
      const outcomes = await handle(
        messages.map(({ message }) => message),
        contextFor(options, lead.message, call),
      )
      return resultsOf(outcomes, messages.length)
    })
  try {
    return await call(batch, first)
  } catch (error) {
    if (error instanceof Interrupted || batch.length === 1) return batch.map(() => resultOf(error))
  }
  const results: Result[] = []
  for (const one of batch) {
    try {
      results.push(...(await call([one], one)))
    } catch (error) {
      results.push(resultOf(error))
    }
  }
  return results
}

/** What a batch handler returned; users who write plain JavaScript may return anything. */
function resultsOf(outcomes: unknown, count: number): Result[] {
  if (outcomes === undefined) return Array.from({ length: count }, (): Result => ({ kind: 'done' }))
  if (!Array.isArray(outcomes) || outcomes.length !== count) {
    const what = Array.isArray(outcomes) ? `${outcomes.length} outcomes` : typeof outcomes
    throw new TypeError(`handleBatch returned ${what} for ${count} messages: one outcome each, or nothing`)
  }
  // Array.from, since a hole of an array is passed over by map.
  return Array.from(outcomes, (outcome: unknown, i): Result => {
    if (outcome === 'done') return { kind: 'done' }
    if (typeof outcome === 'object' && outcome !== null && 'failed' in outcome)
      return { kind: 'failed', error: outcome.failed }
    throw new TypeError(`handleBatch returned neither 'done' nor { failed } as outcome ${i + 1} of ${count}`)
  })
}
