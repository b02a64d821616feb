import type { SessionAddress } from '../db/connection.ts'
import { listen } from '../db/listen.ts'
import type { Listener } from '../db/listen.ts'
import { cleanError } from '../telemetry/errorText.ts'
import type { Log } from '../telemetry/log.ts'
import { WAKE_CHANNEL } from './wakeful.ts'
import type { WakefulTick } from './wakeful.ts'

interface Wakeable {
  wake(): void
}

/** What of this instance hears notifications. All of them are hints: whoever misses one looks by the clock. */
export interface Hearers {
  readonly leaders: Wakeable
  readonly pauses: Wakeable
  readonly processors: readonly Wakeable[]
  /** By poller. */
  readonly ticks: ReadonlyMap<string, Pick<WakefulTick, 'wake' | 'demand'>>
  /** Messages of this source came in, by another instance. */
  onInserted(source: string): void
  /** A pass was asked for of a poller that does not run here. */
  onDemand(poller: string): void
  /** Whether notifications are heard, whenever that changes. */
  onHeard(isHeard: boolean): void
}

/** Listens until closed, and wakes whomever a notification is for; all of them when it is heard again after a silence. */
export function hear(session: SessionAddress, applicationName: string, log: Log, hearers: Hearers): Listener {
  const { leaders, pauses, processors, ticks } = hearers
  return listen(session, {
    applicationName,
    channels: ['tidemark_leader', 'tidemark_poll', 'tidemark_inbox', 'tidemark_control', WAKE_CHANNEL],
    onNotify(channel, payload) {
      if (channel === 'tidemark_leader') leaders.wake()
      else if (channel === 'tidemark_inbox') hearers.onInserted(payload)
      else if (channel === 'tidemark_control') pauses.wake()
      else if (channel === WAKE_CHANNEL) ticks.get(payload)?.wake()
      else if (ticks.has(payload)) ticks.get(payload)?.demand()
      else hearers.onDemand(payload)
    },
    onUp({ afterMs }) {
      hearers.onHeard(true)
      if (afterMs !== null)
        log.event('listen_back', 'hearing notifications again', { waited_ms: Math.round(afterMs) })
      leaders.wake()
      pauses.wake()
      for (const processor of processors) processor.wake()
      // What inserts said meanwhile was not heard.
      for (const tick of ticks.values()) tick.wake()
    },
    onDown(error) {
      hearers.onHeard(false)
      const { class: errorClass, text } = cleanError(error)
      log.event('listen_lost', `notifications are not heard: ${text}; looking by the clock`, {
        class: errorClass,
        text,
      })
    },
  })
}
