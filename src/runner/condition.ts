import type { Readiness } from '../http/statusPort.ts'
import type { InstanceState } from '../tables/instance.ts'
import { cleanError } from '../telemetry/errorText.ts'
import type { Log } from '../telemetry/log.ts'

/** How this instance is: where it stands between start and end, and whether its database answers. */
export interface Condition {
  state: InstanceState
  schemaFits: boolean
  readonly databaseAway: boolean
  readiness(): Readiness
  /** A sign of life of the database was missed; said once per outage. */
  lost(error: unknown): void
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
    lost(error) {
      if (lostAt !== undefined || this.state === 'stopped') return
      lostAt = performance.now()
      const { class: errorClass, text } = cleanError(error)
      log.event('database_lost', `the database does not answer: ${text}`, { class: errorClass, text })
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
