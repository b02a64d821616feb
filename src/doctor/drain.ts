import { note, warning, type Check, type Finding } from './check.ts'

/** Is there time to leave in order? */

/** For what comes after the work: exclusive leases, clean-ups (5 s each), pg-boss, the last answers. */
const AFTER_WORK_MS = 5_000
/** Fly.io ends a machine after 300 s whatever is set: with what comes after the work, no drain may be longer than this. */
const LONGEST_DRAIN_MS = 275_000

export const drainLimits: Check = {
  name: 'drain_limits',
  title: 'SHUTDOWN_TIMEOUT_SECONDS leaves time after DRAIN_TIMEOUT_SECONDS for clean-ups and the hand-over.',
  async run({ settings }) {
    const { drainTimeoutMs: drain, shutdownTimeoutMs: all } = settings
    if (all - drain >= AFTER_WORK_MS) return []
    return [
      warning(
        `DRAIN_TIMEOUT_SECONDS is ${drain / 1000} and SHUTDOWN_TIMEOUT_SECONDS ${all / 1000}: when handlers take all their time, clean-ups and the hand-over have ${(all - drain) / 1000} s`,
        `SHUTDOWN_TIMEOUT_SECONDS=${Math.ceil((drain + 2 * AFTER_WORK_MS) / 1000)}`,
      ),
    ]
  },
}

export const handlerLimits: Check = {
  name: 'handler_limits',
  title: 'No handler may take longer than a drain waits for it.',
  async run(context) {
    const { drainTimeoutMs } = context.settings
    const { processors, jobs } = context.config()
    const written = context.written()
    const found: Finding[] = []
    const parts = [
      ...processors.map(({ name, timeoutMs, work }) => ({
        kind: 'processors' as const,
        name,
        timeoutMs,
        harmless: work.kind === 'transactional',
      })),
      ...jobs.map(({ name, timeoutMs }) => ({ kind: 'jobs' as const, name, timeoutMs, harmless: false })),
    ]
    for (const { kind, name, timeoutMs, harmless } of parts) {
      if (timeoutMs <= drainTimeoutMs) continue
      const asked = written[kind]?.[name]?.timeout !== undefined
      // The default is longer than most handlers take; whoever says a time expects it to be needed.
      const say = asked ? warning : note
      const shorter = `timeout: '${drainTimeoutMs / 1000}s' in ${kind}.${name}`
      const remedy =
        timeoutMs <= LONGEST_DRAIN_MS
          ? `DRAIN_TIMEOUT_SECONDS=${Math.ceil(timeoutMs / 1000)} (with SHUTDOWN_TIMEOUT_SECONDS and kill_timeout above it), or ${shorter}`
          : `${shorter}, and more of smaller pieces: no drain can be that long, since Fly.io stops waiting after 300 s`
      const consequence = harmless ? 'rolled back and run again' : 'run again, with its outside effects'
      found.push(
        say(
          `${kind}.${name} may take ${timeoutMs / 1000} s, and a drain waits ${drainTimeoutMs / 1000} s: what runs longer at a deploy is ${consequence}`,
          remedy,
        ),
      )
    }
    return found
  },
}
