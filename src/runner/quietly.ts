import { cleanError } from '../telemetry/errorText.ts'
import type { Log } from '../telemetry/log.ts'

/** Runs a step of the end: one that fails is said, and keeps none of those after it. */
export function createQuietly(
  log: Pick<Log, 'event'>,
): (act: () => Promise<unknown> | undefined) => Promise<void> {
  return async (act) => {
    try {
      await act()
    } catch (error) {
      log.event('cleanup_failed', `stopping: ${cleanError(error).text}`, cleanError(error))
    }
  }
}
