import type { ClientBase } from 'pg'
import type { HandlerLog } from '../telemetry/log.ts'

/** A span of time: `'500ms'`, `'30s'`, `'5m'`, `'1h'`, `'7d'`, or milliseconds as a number. */
export type Duration = number | `${number}${'ms' | 's' | 'm' | 'h' | 'd'}`

/** The table that somebody else writes and a poller reads. */
export interface SourceConfig {
  /** Table or view, with its schema when it is not on the search path: `service_ops.send_serviceops`. */
  table: string
  /** Column that names a row for good; unique in the table. It becomes the message's `message_id`, as text. */
  id: string
  /** Column with the time at which the row was written; `timestamptz`, set by the database. */
  createdAt: string
  /** Column, or list of columns, that becomes the message's payload. Default: the whole row. */
  payload?: string | string[]
  /** Column whose value groups messages (a tenant). Default: none. */
  groupKey?: string
  /**
   * Column with the trace id, or with a whole W3C `traceparent`: then the handler's span is a child of the one that it names.
   * Default: the payload's `trace_id` when that is text, else a fresh id.
   */
  traceId?: string
  /**
   * SQL condition on columns that never change. Default: every row. Made wider, it lets the next sweep take in the rows of the
   * past that meet it, down to what is forgotten. Sweep and replay read the rows that do not meet it, too: an index for them
   * must not be partial.
   */
  where?: string
  /** Zone of a `timestamp` without zone. Required for such a column, refused for any other. */
  timeZone?: string
  /** How late a row's time may lie behind its commit order. Default: 0 where the database sets the time. */
  lateness?: Duration
}

/** A background task that moves new source rows into the inbox; one leader at a time. */
export interface PollerConfig {
  source: SourceConfig
  /** Time between passes, 1 s at least. Default: 60 s. `<NAME>_INTERVAL_SECONDS` in the environment overrides it. */
  every?: Duration
  /** Instead of `every`: five-field cron expression of the times at which a pass is due. A missed one is made up for once. */
  cron?: string
  /** IANA time zone of `cron`. Default: `UTC`. */
  tz?: string
  /**
   * Where a poller without a watermark begins: `'beginning'`, `'now'`, or an ISO 8601 time. Default: `'beginning'`. It leaves
   * out rows by their time, so rows without one are taken in all the same: leave those out with `source.where`.
   */
  startFrom?: string
  /** Rows in one page. Default: 500. */
  pageSize?: number
  /**
   * How long a finished message is kept, by when its row was written and when it was finished. Rows older than what was
   * forgotten are never taken in again. Rows are kept for two minutes, two intervals and the source's lateness at least.
   * Default: 7 d.
   */
  retention?: Duration
  /**
   * Time between two sweeps, 1 s at least: each looks at every row of the source that is not forgotten and takes in what no
   * pass could know of, such as backfills and rows whose time a client set. Default: 1 h.
   */
  sweep?: Duration
}

/** A source that is filled by `POST /inbox/<NAME>`: with INTAKE_TOKEN, with signed requests, or both. */
export interface IntakeConfig {
  /** Longest body of one request, in bytes, 16 MiB at most. Default: 1 MiB. */
  maxBodyBytes?: number
  /**
   * Requests may be signed as Standard Webhooks says. `secret`: base64 of 24 bytes at least, with or without `whsec_`.
   * Default: INTAKE_TOKEN alone opens it.
   */
  signature?: { secret: string }
  /** How long a finished message is kept: so long a repeated `message_id` is recognised. Default: 7 d. */
  retention?: Duration
}

/** One message as a handler sees it. Ids are text. */
export interface Message {
  readonly inboxId: string
  readonly source: string
  readonly messageId: string
  readonly payload: unknown
  readonly groupKey: string | null
  /** Attempts begun, this one included. */
  readonly attempts: number
  readonly maxAttempts: number
  readonly traceId: string
  /** ISO 8601 text with microseconds, or null for a message that came by intake. */
  readonly sourceCreatedAt: string | null
}

/** How a job is sent. */
export interface SendOptions {
  /** Not before this: a time, or a span from now. Default: at once. */
  startAfter?: Date | Duration
  /** Jobs of one name with a higher one are run first. Default: 0. */
  priority?: number
  /**
   * At most one job of this name and key is queued, running or waiting for a retry; a second one is not sent. Default: for a
   * job with `cron` or `rrule` one key for all, for any other none.
   */
  singletonKey?: string
  /** Trace id that the job's runs carry: 1 to 128 of `A-Za-z0-9._:-`. Default: the handler's that sends it, or a fresh one. */
  traceId?: string
}

/**
 * Sends a job of the config. Resolves to its id, or to null when one with its singleton key is there already.
 * @throws {JobUnknown}, {JobInvalid}, {JobTooLarge}
 */
export type Send = (job: string, data?: unknown, options?: SendOptions) => Promise<string | null>

/** What every handler is given besides its message or job. */
export interface HandlerContext {
  readonly log: HandlerLog
  /** Aborted when the handler's time is up, its claim is lost, or the instance must stop. */
  readonly signal: AbortSignal
  readonly traceId: string
  /** Headers for outgoing calls: `X-Trace-ID` and `traceparent`. */
  traceHeaders(): Record<string, string>
  /**
   * Sends a job, at once. In a `transactional` handler it is sent within `tx`: the job exists if and only if its message is
   * DONE.
   */
  readonly send: Send
}

/**
 * Context of a `transactional` handler: `tx` is a node-postgres client inside the message's own transaction. That one is
 * not the handler's to end: BEGIN, COMMIT and ROLLBACK are refused and fail the message; SAVEPOINT and ROLLBACK TO are not.
 */
export interface TransactionalContext extends HandlerContext {
  readonly tx: Pick<ClientBase, 'query'>
}

/** Outcome of one message of a batch. */
export type BatchOutcome = 'done' | { failed: unknown }

interface ProcessorBase {
  /** Name or names of the pollers and intakes whose messages this processor takes. A source has exactly one processor. */
  from: string | string[]
  /** Messages in work at once in this instance. Default: 10. */
  concurrency?: number
  /** Attempts before a message is DEAD. Default: 10. */
  maxAttempts?: number
  /** Wait before the next attempt: `base` doubled each time up to `max`, with jitter. Default: 1 s, 5 min. */
  backoff?: { base?: Duration; max?: Duration }
  /** Time that one handler call may take. Default: 60 s. */
  timeout?: Duration
  /** One leader in the whole cluster works. Default: false. */
  exclusive?: boolean
  /**
   * Messages of one group key in work at once, in all instances together; `service_ops.slot_limit` changes or pauses a key
   * while everything runs. The sources need `groupKey`. Default: no limit.
   */
  slots?: { perKey: number }
  /**
   * Nothing of a group key begins before its earlier messages, in the order of the source, are done or discarded: one that
   * waits for its next attempt holds its key, and one that is DEAD does until somebody retries or discards it. Default: false.
   */
  ordered?: boolean
}

/** The handler's own writes and DONE commit together: effects exactly once. */
export interface TransactionalProcessorConfig extends ProcessorBase {
  contract: 'transactional'
  handle: (message: Message, context: TransactionalContext) => Promise<void> | void
}

/** At least once; `message.messageId` is the idempotency key. */
export interface ExternalProcessorConfig extends ProcessorBase {
  contract: 'external'
  handle: (message: Message, context: HandlerContext) => Promise<void> | void
}

/** What a batch handler gives back; a function that returns nothing has the type `void`, which is meant here. */
// eslint-disable-next-line @typescript-eslint/no-invalid-void-type -- "all done" is said by returning nothing
type BatchReturn = BatchOutcome[] | void

/** Many messages in one call; `external` only. */
export interface BatchProcessorConfig extends ProcessorBase {
  contract?: 'external'
  /** Returns nothing (all done) or one outcome per message; when it throws, its messages run again one by one. */
  handleBatch: (messages: readonly Message[], context: HandlerContext) => BatchReturn | Promise<BatchReturn>
  /** Messages in one call. Default: 100. */
  batchSize?: number
}

/** Where each message is sent by HTTP. */
export interface DeliverConfig {
  /** Each message's payload is POSTed to it as JSON. `https:` or `http:`; a user and password in it are sent as Basic. */
  url: string
  /**
   * `whsec_…`, as Standard Webhooks has it: signs each delivery. Several: each delivery bears a signature of each, so that the
   * receiver can change from one to the next.
   */
  secret: string | string[]
  /** Time until the whole answer is there, no longer than the processor's own `timeout`. Default: 30 s, or that. */
  timeout?: Duration
}

/** Each message is delivered by HTTP instead of to a handler: at least once, by an id that stays the same. */
export interface DeliveringProcessorConfig extends ProcessorBase {
  contract?: 'external'
  deliver: DeliverConfig
}

export type ProcessorConfig =
  TransactionalProcessorConfig | ExternalProcessorConfig | BatchProcessorConfig | DeliveringProcessorConfig

/** One run of a job. */
export interface Job {
  readonly id: string
  readonly name: string
  /** As it was sent; null for a tick. */
  readonly data: unknown
}

/** Work on a pg-boss queue: by `cron`, by `rrule`, or, with neither, only when it is sent. */
export interface JobConfig {
  /** Five-field cron expression. */
  cron?: string
  /** RFC 5545 recurrence rule, such as `FREQ=MONTHLY;BYDAY=-1FR;BYHOUR=17;BYMINUTE=0;BYSECOND=0`. */
  rrule?: string
  /** IANA time zone of `cron` or `rrule`. Default: `UTC`. */
  tz?: string
  /** What becomes of ticks that nobody saw: one run makes up for all of them, or none does. Default: `once`. */
  missed?: 'once' | 'skip'
  /** Retries after a failure, 5 s to 5 min apart. Default: 2. */
  retryLimit?: number
  /** Time that one run may take, 23 hours at most. Default: 5 min. */
  timeout?: Duration
  handle: (job: Job, context: HandlerContext) => Promise<void> | void
}

/** The whole of what a user writes; `defineConfig` checks its form at compile time, `resolveConfig` at run time. */
export interface TidemarkConfig {
  pollers?: Record<string, PollerConfig>
  intakes?: Record<string, IntakeConfig>
  processors?: Record<string, ProcessorConfig>
  jobs?: Record<string, JobConfig>
  /** Clean-ups of the app's own, run at the end of a drain: last registered, first run. */
  onShutdown?: CleanUp | CleanUp[]
  log?: {
    /** Names of fields whose values never reach a log line, at any depth of what a handler logs. */
    redact?: string[]
  }
}

/** Ends something that the app opened, within 5 s. */
export type CleanUp = () => Promise<void> | void
