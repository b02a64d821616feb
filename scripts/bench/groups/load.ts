/** What both sides are given, in every process. Sources and queues have the same names. */
export const SINGLES = 'bench_singles'
export const BATCHES = 'bench_batches'

/** Handlers of one message at once in a process: the number in the example of pg-boss's documentation, and our default. */
export const AT_ONCE = 10

/** Batches at once in a process, and messages of a batch at most. */
export const BATCHES_AT_ONCE = 2
export const BATCH = 25

/** Handlers of one tenant at once, in all processes together. */
export const LIMIT = 2

/** A message is taken up again that often: nothing is lost for having been killed too often. */
export const ATTEMPTS = 50

/** Connections of a process's pool. */
export const POOL_MAX = 10
