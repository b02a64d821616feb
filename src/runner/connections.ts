import type { ResolvedProcessor } from '../config/resolved.ts'
import type { Settings } from '../config/settings.ts'
import { transactionalHandlers } from './concurrency.ts'
import { WORK_LEAST, WORK_MARGIN } from './foundation.ts'

/** On the address for sessions: the sentinel, and two that LISTEN. */
export const SESSION_CONNECTIONS = 3

/** One that only looks whether the database is there. */
const LOOK_CONNECTIONS = 1

/** Connections that one instance may hold on the address for work, its pools full. */
export function workConnections(
  { poolMax, poolReserved }: Pick<Settings, 'poolMax' | 'poolReserved'>,
  processors: readonly ResolvedProcessor[],
): number {
  const work = poolMax ?? Math.max(WORK_LEAST, transactionalHandlers(processors) + WORK_MARGIN)
  return work + poolReserved + LOOK_CONNECTIONS
}
