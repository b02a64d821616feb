import type {
  BatchProcessorConfig,
  CleanUp,
  ExternalProcessorConfig,
  JobConfig,
  TransactionalProcessorConfig,
} from './types.ts'

/** A source with every default filled in. */
export interface ResolvedSource {
  readonly table: string
  readonly id: string
  readonly createdAt: string
  /** `null`: the whole row; one name: that column's value; several: an object of those columns. */
  readonly payload: string | readonly string[] | null
  readonly groupKey: string | null
  readonly traceId: string | null
  readonly where: string | null
  readonly timeZone: string | null
  /** Null: found out at start. */
  readonly latenessMs: number | null
}

export interface ResolvedPoller {
  readonly name: string
  readonly source: ResolvedSource
  /** With `cron`, the longest time between two passes. */
  readonly everyMs: number
  /** Times at which passes are due; null: every `everyMs`. */
  readonly cron: { readonly expression: string; readonly tz: string } | null
  /** Null: the beginning, while the source has nothing older than `retentionMs`; beyond that it must be said. */
  readonly startFrom: string | null
  readonly pageSize: number
  readonly retentionMs: number
  readonly sweepMs: number
}

export interface ResolvedIntake {
  readonly name: string
  readonly maxBodyBytes: number
  /** Of signed requests; null: they are not taken. */
  readonly secret: string | null
  readonly retentionMs: number
}

/** Where messages are delivered by HTTP, instead of to a handler. */
export interface ResolvedDelivery {
  readonly kind: 'deliver'
  readonly url: string
  /** Every delivery is signed with each of them. */
  readonly secrets: readonly string[]
  readonly timeoutMs: number
}

export interface ResolvedProcessor {
  readonly name: string
  readonly from: readonly string[]
  readonly concurrency: number
  readonly maxAttempts: number
  readonly backoff: { readonly baseMs: number; readonly maxMs: number }
  readonly timeoutMs: number
  readonly exclusive: boolean
  readonly slots: { readonly perKey: number } | null
  readonly ordered: boolean
  readonly work:
    | { readonly kind: 'transactional'; readonly handle: TransactionalProcessorConfig['handle'] }
    | { readonly kind: 'external'; readonly handle: ExternalProcessorConfig['handle'] }
    | {
        readonly kind: 'batch'
        readonly handle: BatchProcessorConfig['handleBatch']
        readonly batchSize: number
      }
    | ResolvedDelivery
}

export interface ResolvedJob {
  readonly name: string
  /** A cron expression or a recurrence rule; null: it is only sent. */
  readonly schedule: string | null
  readonly tz: string
  readonly missed: 'once' | 'skip'
  readonly retryLimit: number
  readonly timeoutMs: number
  readonly handle: JobConfig['handle']
}

/** A config after validation: deeply frozen, durations in milliseconds. */
export interface ResolvedConfig {
  readonly pollers: readonly ResolvedPoller[]
  readonly intakes: readonly ResolvedIntake[]
  readonly processors: readonly ResolvedProcessor[]
  readonly jobs: readonly ResolvedJob[]
  /** In order of registration; a drain runs them from the last to the first. */
  readonly onShutdown: readonly CleanUp[]
  readonly log: { readonly redact: readonly string[] }
}
