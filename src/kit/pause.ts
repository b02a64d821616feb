/** Resolves after `ms`, or at once when the signal aborts; never rejects, so a stop is no error. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted === true) {
      resolve()
      return
    }
    const end = (): void => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', end)
      resolve()
    }
    // Node warns of a wait until what is a moment ago.
    const timer = setTimeout(end, Math.max(0, ms))
    signal?.addEventListener('abort', end, { once: true })
  })
}
