import type { SessionAddress } from '../db/connection.ts'
import { listen } from '../db/listen.ts'
import type { Log } from '../telemetry/log.ts'
import { cleanError } from '../telemetry/errorText.ts'
import { within } from '../kit/within.ts'
import type { Listen } from './database.ts'

/** How long pg-boss waits for the first subscription, in ms; then it polls only, and says so. */
const FIRST_UP_MS = 5_000

/**
 * pg-boss's LISTEN on a direct connection of its own. The first connection is pg-boss's to give up on; every later
 * loss is mended by db/listen.ts, and `onReconnect` then makes the workers look once, since what was notified in
 * between is gone.
 */
export function createListen(address: SessionAddress, applicationName: string, log: Log): Listen {
  return async (channel, onNotification, onReconnect) => {
    const first = Promise.withResolvers<null>()
    const failed = { error: undefined as unknown }
    let up = false
    const listener = listen(address, {
      applicationName,
      channels: [channel],
      onNotify: (_, payload) => onNotification(payload),
      onUp: ({ afterMs }) => {
        up = true
        first.resolve(null)
        if (afterMs !== null) {
          log.event('listen_back', "the queue's LISTEN connection is back", { waited_ms: afterMs })
        }
        onReconnect()
      },
      onDown: (error) => {
        failed.error = error
        if (up) log.event('listen_lost', "the queue's LISTEN connection was lost", cleanError(error))
      },
    })
    if (!(await within(FIRST_UP_MS, first.promise))) {
      await listener.close()
      throw new Error('the queue could not LISTEN', { cause: failed.error })
    }
    return { close: () => listener.close() }
  }
}
