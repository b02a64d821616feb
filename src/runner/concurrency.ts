import type { ResolvedProcessor } from '../config/resolved.ts'
import type { Log } from '../telemetry/log.ts'
import { WORK_MARGIN } from './foundation.ts'

/** Handlers that may hold a connection of the work pool at once. */
export function transactionalHandlers(processors: readonly ResolvedProcessor[]): number {
  return processors
    .filter(({ work }) => work.kind === 'transactional')
    .reduce((sum, { concurrency }) => sum + concurrency, 0)
}

/**
 * Processors as they may run with a work pool of so many connections. Each transactional handler holds one, and some are
 * needed besides; with fewer, all transactional processors run fewer handlers at once, in proportion, one at least.
 */
export function fitConcurrency(
  processors: readonly ResolvedProcessor[],
  poolMax: number,
  log: Pick<Log, 'event'>,
): readonly ResolvedProcessor[] {
  const wanted = transactionalHandlers(processors)
  if (wanted === 0 || poolMax >= wanted + WORK_MARGIN) return processors
  const share = Math.max(0, poolMax - WORK_MARGIN) / wanted
  const fitted = processors.map((processor) =>
    processor.work.kind === 'transactional'
      ? { ...processor, concurrency: Math.max(1, Math.floor(processor.concurrency * share)) }
      : processor,
  )
  const msg =
    `DB_POOL_MAX is ${poolMax}, and ${wanted} transactional handlers at once want ${wanted + WORK_MARGIN}: ` +
    `${transactionalHandlers(fitted)} run at once; raise DB_POOL_MAX, or lower the concurrency of the processors`
  log.event('concurrency_lowered', msg, {
    pool_max: poolMax,
    wanted,
    concurrency: transactionalHandlers(fitted),
  })
  return fitted
}
