/**
 * Users' clean-ups, last registered first, one after the other. Each has its time; one that takes longer is left behind and
 * one that throws is said, and the next follows. One that is registered meanwhile comes next.
 */
import type { CleanUp } from '../config/types.ts'
import { within } from '../kit/within.ts'
import { cleanError } from '../telemetry/errorText.ts'
import type { Log } from '../telemetry/log.ts'

/** What one clean-up may take. */
const CLEAN_UP_MS = 5_000

export async function runCleanUps(
  cleanUps: CleanUp[],
  log: Log,
  limitMs = CLEAN_UP_MS,
  onEach: (name: string) => void = () => undefined,
): Promise<void> {
  for (let cleanUp = cleanUps.pop(); cleanUp !== undefined; cleanUp = cleanUps.pop()) {
    const name = `clean-up ${cleanUps.length + 1}`
    onEach(name)
    try {
      await runCleanUp(cleanUp, limitMs)
    } catch (error) {
      const clean = cleanError(error)
      log.event('cleanup_failed', `${name} failed: ${clean.text}`, { ...clean, cleanup: name })
    }
  }
}

async function runCleanUp(cleanUp: CleanUp, limitMs: number): Promise<void> {
  // Called within: one that throws before it returns is one that failed.
  const running = Promise.resolve().then(cleanUp)
  if (!(await within(limitMs, running))) throw new Error(`it took longer than ${limitMs} ms`)
  await running
}
