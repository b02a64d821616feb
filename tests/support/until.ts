import { setTimeout as delay } from 'node:timers/promises'

/** Often enough that a test goes on at once, seldom enough that ten of them do not fill a core. */
const POLL_MS = 20

/**
 * Waits until the condition gives something that is neither undefined nor false, and returns it.
 *
 * The limit is generous, because it ends only tests that fail. An error that the condition throws ends the wait.
 *
 * @param what completes "waited for ...", in the report of a failed test.
 */
export async function until<T>(
  what: string,
  condition: () => Promise<T | undefined | false> | T | undefined | false,
  limitMs = 30_000,
): Promise<T> {
  const deadline = performance.now() + limitMs
  for (;;) {
    const result = await condition()
    if (result !== undefined && result !== false) return result
    if (performance.now() > deadline) throw new Error(`Waited ${limitMs / 1000} s in vain for ${what}`)
    await delay(POLL_MS)
  }
}
