/**
 * The code of a failed system call, such as ENOENT. Not by `instanceof Error`: a test runner that gives each file globals of its own
 * (jest) has another Error than Node's own modules throw.
 */
export function errorCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}
