import type { Readiness } from '../http/statusPort.ts'
import type { InstanceState } from '../tables/instance.ts'
import type { Log } from '../telemetry/log.ts'

/** How this instance is: where it stands between start and end, and whether its database answers. */
export interface Condition {
  state: InstanceState
  schemaFits: boolean
  readonly databaseAway: boolean
  readiness(): Readiness
  /** The database gave no sign of life; `errorClass` says why. Said once per outage. */
  lost(errorClass: string): void
  /** It answered; `onBack` is called after an outage. */
  answered(): void
}

export function createCondition(log: Log, onBack: () => void): Condition {
  let lostAt: number | undefined
  return {
    state: 'starting',
    schemaFits: true,
    get databaseAway() {
      return lostAt !== undefined
    },
    readiness() {
      if (this.state === 'draining' || this.state === 'stopped') return 'draining'
      if (!this.schemaFits) return 'schema_incompatible'
      if (lostAt !== undefined) return 'database_unavailable'
      return this.state === 'ready' ? 'ready' : 'starting'
    },
    lost(errorClass) {
      if (lostAt !== undefined || this.state === 'stopped') return
      lostAt = performance.now()
      log.event('database_lost', `the database does not answer: ${errorClass}`, { class: errorClass })
    },
    answered() {
      if (lostAt === undefined) return
      const waitedMs = Math.round(performance.now() - lostAt)
      lostAt = undefined
      log.event('database_back', `the database answers again, after ${waitedMs} ms`, { waited_ms: waitedMs })
      onBack()
    },
  }
}
