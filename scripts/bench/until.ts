/** Often enough for a race of a second, and seldom enough to cost nothing. */
const LOOK_MS = 2

/** No race takes as long: whoever does has stopped working. */
const LIMIT_MS = 300_000

/** Looks until it is so; for what has no event. Throws when it takes minutes. */
export async function until(
  what: string,
  isSo: () => boolean | Promise<boolean>,
  everyMs = LOOK_MS,
): Promise<void> {
  const end = performance.now() + LIMIT_MS
  while (!(await isSo())) {
    if (performance.now() > end) throw new Error(`${what} has not come about in ${LIMIT_MS / 1000} s`)
    await new Promise((resolve) => setTimeout(resolve, everyMs))
  }
}
