import { ConfigInvalid } from '../errors.ts'
import { crossFaults } from './crossFaults.ts'
import { resolveDelivery } from './delivery.ts'
import { faultsOf } from './faults.ts'
import { longestWaitMs } from './recurrence.ts'
import type { ResolvedConfig, ResolvedProcessor, ResolvedSource } from './resolved.ts'
import { CONFIG_SCHEMA, type FormedConfig, type FormedProcessor, type FormedSource } from './schema.ts'

const DEFAULT_EVERY_MS = 60_000

/** What `resolveConfig` is told besides the config. */
export interface ResolveOptions {
  /** The file that it came from, for messages. */
  readonly file?: string
  /** `Settings.pollerIntervals`: they override `every`. */
  readonly intervals?: ReadonlyMap<string, number>
}

/**
 * Checks a config, fills in the defaults, turns durations into milliseconds, and freezes the result.
 * @throws {ConfigInvalid} naming every fault at once.
 */
export function resolveConfig(config: unknown, options: ResolveOptions = {}): ResolvedConfig {
  const formed = CONFIG_SCHEMA.safeParse(config)
  // What the parts say about each other is judged on the raw config too, so that no fault waits for another.
  const faults = [
    ...(formed.error?.issues ?? []).flatMap((issue) => faultsOf(issue, config)),
    ...crossFaults(config),
  ]
  if (!formed.success || faults.length > 0) {
    throw new ConfigInvalid(faults, options.file === undefined ? {} : { file: options.file })
  }
  return deepFreeze(resolve(formed.data, options.intervals ?? new Map<string, number>()))
}

function resolve(config: FormedConfig, intervals: ReadonlyMap<string, number>): ResolvedConfig {
  return {
    pollers: Object.entries(config.pollers).map(([name, poller]) => ({
      name,
      source: resolveSource(poller.source),
      everyMs:
        poller.cron === undefined
          ? (intervals.get(name) ?? poller.every ?? DEFAULT_EVERY_MS)
          : longestWaitMs(poller.cron),
      cron: poller.cron === undefined ? null : { expression: poller.cron.trim(), tz: poller.tz },
      startFrom: poller.startFrom,
      pageSize: poller.pageSize,
      retentionMs: poller.retention,
      sweepMs: poller.sweep,
    })),
    intakes: Object.entries(config.intakes).map(([name, intake]) => ({
      name,
      maxBodyBytes: intake.maxBodyBytes,
      secret: intake.signature?.secret ?? null,
      retentionMs: intake.retention,
    })),
    processors: Object.entries(config.processors).map(([name, processor]) => ({
      name,
      from: processor.from,
      concurrency: processor.concurrency,
      maxAttempts: processor.maxAttempts,
      backoff: { baseMs: processor.backoff.base, maxMs: processor.backoff.max },
      timeoutMs: processor.timeout,
      exclusive: processor.exclusive,
      slots: processor.slots,
      ordered: processor.ordered,
      work: resolveWork(processor),
    })),
    jobs: Object.entries(config.jobs).map(([name, job]) => ({
      name,
      schedule: (job.cron ?? job.rrule)?.trim() ?? null,
      tz: job.tz,
      missed: job.missed,
      retryLimit: job.retryLimit,
      timeoutMs: job.timeout,
      handle: job.handle,
    })),
    onShutdown: config.onShutdown,
    log: config.log,
  }
}

function resolveSource(source: FormedSource): ResolvedSource {
  return {
    table: source.table,
    id: source.id,
    createdAt: source.createdAt,
    payload: source.payload ?? null,
    groupKey: source.groupKey ?? null,
    traceId: source.traceId ?? null,
    where: source.where ?? null,
    timeZone: source.timeZone ?? null,
    latenessMs: source.lateness ?? null,
  }
}

function resolveWork({
  handle,
  handleBatch,
  contract,
  batchSize,
  deliver,
  timeout,
}: FormedProcessor): ResolvedProcessor['work'] {
  if (deliver !== undefined) return resolveDelivery(deliver, timeout)
  if (handleBatch !== undefined) return { kind: 'batch', handle: handleBatch, batchSize: batchSize ?? 100 }
  if (handle === undefined || contract === undefined) {
    throw new Error('a processor without handle or contract passed the checks: a fault of Tidemark')
  }
  return { kind: contract, handle }
}

function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null) return value
  for (const inner of Object.values(value)) deepFreeze(inner)
  return Object.freeze(value)
}
