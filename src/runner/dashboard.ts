import type { ResolvedConfig, ResolvedPoller } from '../config/resolved.ts'
import type { Queryable } from '../db/pool.ts'
import { withTransaction } from '../db/transaction.ts'
import { PollerUnknown, RangeTooLarge, ReplayUnderWay } from '../errors.ts'
import type { DashboardPort, ReplayRequest } from '../http/dashboardPort.ts'
import { replay } from '../ingest/replay.ts'
import type { ReplayOptions } from '../ingest/replay.ts'
import { lookAtRange } from '../ingest/replayLook.ts'
import { requireSameSource } from '../ingest/sameSource.ts'
import { checkSource } from '../ingest/sourceCheck.ts'
import { actAs, amendAction, recordAction } from '../tables/control.ts'
import { announceInserted } from '../tables/inbox.ts'
import { findTask } from '../tables/task.ts'
import { cleanError } from '../telemetry/errorText.ts'
import type { InstancePort } from './port.ts'

/** Of a message whose source has no processor here. */
const DEFAULT_ATTEMPTS = 10

/** A dry run is looked at for this part of a request's time. */
const LOOK_SHARE = 0.7

export interface DashboardSideOptions {
  readonly port: InstancePort
  readonly config: ResolvedConfig
  /** Of a request, in milliseconds. */
  readonly requestTimeoutMs: number
  /** Aborted when the instance begins to drain. */
  readonly ending: AbortSignal
}

/** What the dashboard may ask of this instance. */
export function createDashboardPort(options: DashboardSideOptions): DashboardPort {
  const { port, config, requestTimeoutMs, ending } = options
  let underWay: string | undefined

  async function prepare(name: string, db: Queryable): Promise<ReplayOptions> {
    const poller = config.pollers.find((one): one is ResolvedPoller => one.name === name)
    if (poller === undefined) throw new PollerUnknown(name)
    const { source } = await checkSource(db, poller.source)
    requireSameSource(name, await findTask(db, name), source)
    return { db, name, source, pageSize: poller.pageSize }
  }

  /** Told on record how it ended; when even that fails, the record says only that it began. */
  async function takeIn(prepared: ReplayOptions, request: ReplayRequest, action: string): Promise<void> {
    const { db, name } = prepared
    const processor = config.processors.find(({ from }) => from.includes(name))
    let refused = 0
    try {
      const { inserted, finished } = await replay(
        {
          ...prepared,
          maxAttempts: processor?.maxAttempts ?? DEFAULT_ATTEMPTS,
          includeForgotten: request.includeForgotten,
          signal: ending,
          onRefusedRow: () => (refused += 1),
        },
        request,
      )
      await amendAction(db, action, { inserted, finished, ...(refused > 0 && { refused }) })
      if (inserted > 0) await announceInserted(db, name)
    } catch (error) {
      await amendAction(db, action, { finished: false, error: cleanError(error).text }).catch(() => undefined)
    }
  }

  return {
    status: () => port.status(),
    database: () => port.workDatabase(),
    ending,
    pollers: () => config.pollers.map(({ name }) => name),
    async lookAtRange({ poller, from, to }) {
      const until = performance.now() + requestTimeoutMs * LOOK_SHARE
      const db: Queryable = {
        async query(text, values) {
          if (performance.now() > until) throw new RangeTooLarge(poller)
          return port.workDatabase().query(text, values)
        },
      }
      return lookAtRange(await prepare(poller, db), { from, to })
    },
    async replay(request, who) {
      const { poller, from, to, includeForgotten } = request
      if (underWay !== undefined) throw new ReplayUnderWay(underWay)
      underWay = poller
      try {
        const prepared = await prepare(poller, port.workDatabase())
        const action = await withTransaction(port.database(), async (client) => {
          await actAs(client, { who, how: 'http' })
          return recordAction(client, 'replay', poller, { from, to, include_forgotten: includeForgotten })
        })
        void takeIn(prepared, request, action).finally(() => (underWay = undefined))
        return action
      } catch (error) {
        underWay = undefined
        throw error
      }
    },
  }
}
