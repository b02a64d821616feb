import type { EventName, Events } from '../telemetry/eventFields.ts'
import type { LineFields, Log } from '../telemetry/log.ts'

/** One line of the log, as an operator would see it. */
export interface TestEvent {
  readonly event: EventName
  readonly msg: string
  readonly fields: Readonly<Record<string, unknown>>
}

/** Keeps what the parts say, and tells whoever listens as it is said. */
export class StepLog implements Log {
  readonly #events: TestEvent[]
  readonly #listeners: Set<(said: TestEvent) => void>
  readonly #bindings: Readonly<Record<string, string>>

  constructor(
    events: TestEvent[] = [],
    listeners = new Set<(said: TestEvent) => void>(),
    bindings: Readonly<Record<string, string>> = {},
  ) {
    this.#events = events
    this.#listeners = listeners
    this.#bindings = bindings
  }

  get events(): readonly TestEvent[] {
    return this.#events
  }

  event<E extends EventName>(event: E, msg: string, fields: Events[E] & LineFields): void {
    const said = { event, msg, fields: { ...this.#bindings, ...fields } }
    this.#events.push(said)
    for (const listener of this.#listeners) listener(said)
  }

  child(bindings: Record<string, string>): Log {
    return new StepLog(this.#events, this.#listeners, { ...this.#bindings, ...bindings })
  }

  close(): Promise<void> {
    return Promise.resolve()
  }

  /** Runs `work` and tells `listener` what is said meanwhile. */
  async during<T>(listener: (said: TestEvent) => void, work: () => Promise<T>): Promise<T> {
    this.#listeners.add(listener)
    try {
      return await work()
    } finally {
      this.#listeners.delete(listener)
    }
  }
}
