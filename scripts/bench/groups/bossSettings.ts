import type { ConstructorOptions, QueueOptions, WorkOptions } from 'pg-boss'
import { AT_ONCE, ATTEMPTS, BATCH, BATCHES_AT_ONCE, LIMIT, POOL_MAX } from './load.ts'

/*
 * pg-boss as quick and as strict as its own documentation makes it: the limit for all nodes together (`groupConcurrency`, not
 * the one within a process), notifications, its shortest intervals, bursts while there is a backlog, and heartbeats so that
 * what a dead process had comes back after 10 s, not after 15 minutes.
 */

/** The least that it takes for each. */
const POLL_S = 0.5
const HEARTBEAT_S = 10
const UPKEEP_S = 1

export const SCHEMA = 'bench_groups'

/** What a pg-boss is made of here. */
export interface BossSettings {
  readonly options: ConstructorOptions
  readonly queue: QueueOptions & { readonly notify: boolean }
  readonly singles: WorkOptions
  readonly batches: WorkOptions
}

/** @param notify false: it polls only, which lets fewer of its workers fetch in the same moment. */
export function bossSettings(notify: boolean): BossSettings {
  const work: WorkOptions = {
    groupConcurrency: LIMIT,
    pollingIntervalSeconds: POLL_S,
    // Its backstop beside notifications is 30 s otherwise, which what is over the limit would wait for.
    ...(notify ? { notifyPollingIntervalSeconds: POLL_S } : {}),
    burstWhenReadyExceeds: 1,
  }
  return {
    options: {
      schema: SCHEMA,
      max: POOL_MAX,
      useListenNotify: notify,
      superviseIntervalSeconds: UPKEEP_S,
      monitorIntervalSeconds: UPKEEP_S,
      queueCacheIntervalSeconds: UPKEEP_S,
    },
    queue: { notify, heartbeatSeconds: HEARTBEAT_S, retryLimit: ATTEMPTS },
    singles: { ...work, localConcurrency: AT_ONCE },
    batches: { ...work, localConcurrency: BATCHES_AT_ONCE, batchSize: BATCH, burstWhenBatchFull: true },
  }
}

/** The settings in words, for the report. */
export function bossSettingsText(notify: boolean): string {
  return [
    `groupConcurrency ${LIMIT}`,
    ...(notify ? ['useListenNotify and notify'] : ['no notifications']),
    `polling every ${POLL_S} s${notify ? ' beside them' : ''}`,
    'burstWhenReadyExceeds 1',
    `heartbeatSeconds ${HEARTBEAT_S}`,
    `supervise, monitor and queue cache every ${UPKEEP_S} s`,
    `localConcurrency ${AT_ONCE}, and ${BATCHES_AT_ONCE} with batchSize ${BATCH} and burstWhenBatchFull`,
  ].join(', ')
}
