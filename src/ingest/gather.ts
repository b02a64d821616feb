/**
 * Taking messages in that are sent to us, many requests with one statement.
 *
 *     submitted ──nothing in flight──▶ in flight ──▶ answered: accepted and duplicates
 *         └──── waits ─────────────────▲    └─fault in the data─▶ halved, until the request at fault is alone: refused
 *
 * A commit costs the same for one message as for a thousand, so while a statement is in flight, those that come wait and go
 * together with the next one. One that finds nothing in flight goes at once: a quiet system pays no latency for it.
 *
 * The database owns the truth: a message is there or not, by the unique key of source and id. Therefore
 *
 * - *the answer of a statement is lost* (connection broken, process killed): the sender hears of a failure or of nothing, and
 *   sends again; what was committed is then a duplicate;
 * - *two instances are sent the same requests at once* (senders that come again): each would wait for what the other has written
 *   already, a deadlock. So the requests of a statement stand in an order that is the same everywhere; those that are in one
 *   statement were all on their way at once, and came in no order. The messages of a request keep theirs;
 * - *they have the same messages in another order*, and so deadlock all the same: PostgreSQL ends one of the two, which is tried
 *   again apart, when no other instance takes anything in, and then meets none of them. Not the first time: whoever sends many
 *   at once would wait for everybody else at each statement;
 * - *it is tried again and loses again*, to somebody who is no intake: it is halved as well, so that others do not wait for the
 *   end of that quarrel;
 * - *one request's data is refused by PostgreSQL*, whatever was looked at before: the others do not pay for it;
 * - *a statement hangs*: all wait, each no longer than its own limit, and then is told to come again. One that was not begun by
 *   then never is, and is not kept.
 *
 * Requests take turns by connection, so one that sends many at once keeps nobody else waiting for all of them. A statement has
 * bounds in messages and bytes; one request alone always fits.
 */
import { errorClass } from '../db/sqlstate.ts'
import type { IntakeMessage, IntakeRow, TakenMessage } from '../tables/intake.ts'
import { IntakeRefused, IntakeTooSlow } from '../errors.ts'
import { cleanError } from '../telemetry/errorText.ts'
import { isUnreadable, overRaces } from './halving.ts'

/** The messages of one request; all are taken in, or none. */
export interface Submission {
  readonly source: string
  /** Whoever has the same takes turns with the others: a connection. */
  readonly turn: object
  readonly messages: readonly IntakeMessage[]
  readonly bytes: number
  readonly traceId: string
  readonly traceparent: string | null
  readonly maxAttempts: number
}

export interface Taken {
  readonly accepted: number
  readonly duplicates: number
}

export interface Gatherer {
  /** Rejects with IntakeRefused, with IntakeTooSlow after `limitMs`, or with the database's error. */
  submit(submission: Submission, limitMs: number): Promise<Taken>
}

/** About 20 ms of the server's work; more in one statement would gain nothing and make whoever comes next wait longer. */
const MAX_ROWS = 1_000
const MAX_BYTES = 4 * 2 ** 20

/** Of a statement with several requests, before it is halved. */
const RACE_TRIES = 2

interface Waiting extends Submission {
  settled: boolean
  readonly resolve: (taken: Taken) => void
  readonly reject: (error: unknown) => void
}

/** @param write one autocommit statement, `apart` from those of others; resolves to what was new */
export function createGatherer(
  write: (rows: readonly IntakeRow[], apart: boolean) => Promise<readonly TakenMessage[]>,
  bounds: { readonly rows?: number; readonly bytes?: number } = {},
): Gatherer {
  const { rows: maxRows = MAX_ROWS, bytes: maxBytes = MAX_BYTES } = bounds
  const queue = new Map<object, Waiting[]>()
  const never = new AbortController().signal
  let inFlight = false

  /** One of each connection, again and again, up to the bounds. A connection that had its turn goes to the end of the map. */
  function nextBatch(): Waiting[] {
    const batch: Waiting[] = []
    let rows = 0
    let bytes = 0
    for (const [turn, waiting] of queue) {
      const [first] = waiting
      if (first !== undefined) {
        rows += first.messages.length
        bytes += first.bytes
        if (batch.length > 0 && (rows > maxRows || bytes > maxBytes)) break
        batch.push(first)
      }
      waiting.shift()
      queue.delete(turn)
      if (waiting.length > 0) queue.set(turn, waiting)
    }
    return batch.sort(inOneOrder)
  }

  /** Nobody waits for it any more. */
  function leave(waiting: Waiting): void {
    const others = (queue.get(waiting.turn) ?? []).filter((other) => other !== waiting)
    if (others.length > 0) queue.set(waiting.turn, others)
    else queue.delete(waiting.turn)
  }

  async function send(batch: readonly Waiting[]): Promise<void> {
    const isAlone = batch.length === 1
    if (batch.length === 0) return
    let apart = false
    try {
      const rows = batch.flatMap((one) =>
        one.messages.map((message): IntakeRow => ({ ...message, ...ofRequest(one) })),
      )
      const statement = async (): Promise<readonly TakenMessage[]> => {
        try {
          return await write(rows, apart)
        } catch (error) {
          apart ||= errorClass(error) === 'deadlock'
          throw error
        }
      }
      share(
        batch,
        rows.length === 0 ? [] : await overRaces(never, statement, isAlone ? undefined : RACE_TRIES),
      )
    } catch (error) {
      if (!isAlone && (isUnreadable(error) || errorClass(error) === 'deadlock')) {
        const middle = Math.ceil(batch.length / 2)
        for (const half of [batch.slice(0, middle), batch.slice(middle)])
          await send(half.filter(({ settled }) => !settled))
      } else {
        const reason = isUnreadable(error) ? new IntakeRefused(cleanError(error).text, error) : error
        for (const one of batch) one.reject(reason)
      }
    }
  }

  async function sendAll(): Promise<void> {
    inFlight = true
    for (let batch = nextBatch(); batch.length > 0; batch = nextBatch()) await send(batch)
    inFlight = false
  }

  return {
    submit(submission, limitMs) {
      const { promise, resolve, reject } = Promise.withResolvers<Taken>()
      const settle =
        <T>(act: (value: T) => void) =>
        (value: T): void => {
          waiting.settled = true
          clearTimeout(limit)
          act(value)
        }
      const waiting: Waiting = {
        ...submission,
        settled: false,
        resolve: settle(resolve),
        reject: settle(reject),
      }
      const limit = setTimeout(() => {
        leave(waiting)
        waiting.reject(new IntakeTooSlow())
      }, limitMs)
      const others = queue.get(submission.turn)
      if (others === undefined) queue.set(submission.turn, [waiting])
      else others.push(waiting)
      if (!inFlight) void sendAll()
      return promise
    },
  }
}

/** The same requests stand in the same order in every statement. */
function inOneOrder(one: Submission, other: Submission): number {
  if (one.source !== other.source) return one.source < other.source ? -1 : 1
  const [a = '', b = ''] = [one, other].map(({ messages }) => messages[0]?.messageId)
  return a === b ? 0 : a < b ? -1 : 1
}

function ofRequest({
  source,
  traceId,
  traceparent,
  maxAttempts,
}: Submission): Omit<IntakeRow, keyof IntakeMessage> {
  return { source, traceId, traceparent, maxAttempts }
}

/** Tells each request how many of its messages were new: of those with one id, the first was taken. */
function share(batch: readonly Waiting[], taken: readonly TakenMessage[]): void {
  const fresh = new Set(taken.map(({ source, message_id: id }) => `${source} ${id}`))
  for (const { source, messages, resolve } of batch) {
    const accepted = messages.filter(({ messageId }) => fresh.delete(`${source} ${messageId}`)).length
    resolve({ accepted, duplicates: messages.length - accepted })
  }
}
