/** Whether the promise settled in time; it is not awaited any longer than that. */
export async function within(limitMs: number, promise: Promise<unknown>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const limit = new Promise<false>((resolve) => {
    timer = setTimeout(resolve, Math.max(0, limitMs), false)
  })
  const done = promise.then(
    () => true,
    () => true,
  )
  try {
    return await Promise.race([done, limit])
  } finally {
    clearTimeout(timer)
  }
}
