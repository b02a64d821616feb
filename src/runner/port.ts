import type { Pool } from '../db/pool.ts'
import type { StatusPort } from '../http/statusPort.ts'
import { createSeldom } from '../kit/seldom.ts'
import { readStatus } from '../tables/status.ts'
import type { StatusDocument } from '../tables/status.ts'
import { checkParts } from './checks.ts'
import type { Parts } from './checks.ts'
import type { Condition } from './condition.ts'
import type { Pools } from './foundation.ts'

/** `/status` is read from the database at most this often, however many ask. */
const STATUS_MS = 1_000

export interface PortOptions {
  readonly condition: Condition
  /** Undefined before there is a connection. */
  readonly pools: () => Pools | undefined
  readonly parts: () => Parts
}

export interface InstancePort extends StatusPort {
  status(): Promise<StatusDocument>
  /** For operators, who must not wait behind handlers. Throws before there is one. */
  database(): Pool
  /** For people who look; they wait behind the work. Throws before there is one. */
  workDatabase(): Pool
}

/** What HTTP may ask of this instance. */
export function createPort({ condition, pools, parts }: PortOptions): InstancePort {
  const connected = (): Pools => {
    const there = pools()
    if (there === undefined) throw new Error('not connected yet')
    return there
  }
  const status = createSeldom({
    // On the work pool: leases and heartbeats must not wait for somebody who looks.
    ask: async () => readStatus(connected().work),
    everyMs: () => STATUS_MS,
    share: 1,
  })
  return {
    database: () => connected().reserved,
    workDatabase: () => connected().work,
    readiness: () => condition.readiness(),
    async probeDatabase() {
      // Not the text of other round trips: who reads the server's log can tell how often it is looked at.
      await connected().pulse.query('SELECT 1 AS alive')
    },
    checks: () => checkParts(parts()),
    status: () => status.need(),
  }
}
