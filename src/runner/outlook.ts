/** How an instance is seen from outside: whether its database is there, what HTTP may ask of it, and its metrics. */
import type { ResolvedConfig } from '../config/resolved.ts'
import type { Settings } from '../config/settings.ts'
import type { MetricsPort } from '../http/metricsPort.ts'
import { createProbe } from '../http/probe.ts'
import type { DatabaseProbe } from '../http/probe.ts'
import { CONTENT_TYPE } from '../telemetry/metrics/text.ts'
import type { Condition } from './condition.ts'
import type { Counting } from './counting.ts'
import { createExposition } from './exposition.ts'
import type { Pools } from './foundation.ts'
import { createPort } from './port.ts'
import type { InstancePort } from './port.ts'
import type { Refused } from './refused.ts'
import type { Work } from './work.ts'

export interface OutlookOptions {
  readonly config: ResolvedConfig
  readonly settings: Pick<Settings, 'release'>
  readonly condition: Condition
  readonly counting: Counting
  /** Undefined before there is a connection. */
  readonly pools: () => Pools | undefined
  /** Undefined before the parts run. */
  readonly work: () => Work | undefined
  readonly refused: () => Refused | undefined
}

export interface Outlook {
  readonly port: InstancePort
  readonly probe: DatabaseProbe
  readonly metrics: MetricsPort
  /** Ends what metrics still ask of the database. */
  stop(): void
}

export function createOutlook(options: OutlookOptions): Outlook {
  const { condition, counting, pools, work, refused } = options
  const port = createPort({
    condition,
    pools,
    parts: () => ({
      boss: work()?.boss,
      leaders: work()?.leaders,
      pollers: work()?.pollers ?? [],
      processors: work()?.processors ?? [],
      failedTasks: refused()?.names ?? [],
      waiting: work()?.deliveries.waiting ?? [],
    }),
  })
  const probe = createProbe(() => port.probeDatabase())
  const exposition = createExposition({ ...options, probe })
  return {
    port,
    probe,
    metrics: {
      contentType: CONTENT_TYPE,
      text: () => exposition.text(),
      requested: () => counting.meter.requested(),
    },
    stop: () => exposition.stop(),
  }
}
