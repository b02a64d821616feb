import type { EventName, Events } from '../../src/telemetry/eventFields.ts'
import type { Log } from '../../src/telemetry/log.ts'

export interface RecordedLog extends Pick<Log, 'event'> {
  /** Names of all events so far, in order. */
  readonly names: readonly EventName[]
  /** Fields of every event of this name, in order. */
  of<E extends EventName>(event: E): Events[E][]
}

/** A log that keeps what it is told, for tests that ask what was said. */
export function recordedLog(): RecordedLog {
  const lines: { event: EventName; fields: unknown }[] = []
  return {
    event: (event, _msg, fields) => void lines.push({ event, fields }),
    get names() {
      return lines.map(({ event }) => event)
    },
    of<E extends EventName>(event: E) {
      // `event` above keeps name and fields together; the array cannot say so in its type.
      return lines.filter((line) => line.event === event).map(({ fields }) => fields as Events[E])
    },
  }
}
