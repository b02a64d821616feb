import { cleanError, cleanText } from '../telemetry/errorText.ts'
import type { Log } from '../telemetry/log.ts'
import { messageOf } from './message.ts'
import { EXIT, EXIT_BY_SIGNAL, type ShutdownSignal } from './exitCodes.ts'

/*
 * From start to exit code, with signals on the way.
 *
 *   starting ──ready──▶ running ──first signal──▶ draining ──drained──▶ exit 0
 *      │ failed            │ crashed                 │ failed ──▶ exit 1
 *      ▼                   ▼                         │ second signal
 *    exit 1              exit 1                      ▼
 *                                                 give back, exit 130/143
 *
 * A signal while it starts drains what has started: the runner's `stop` is made for any moment. Whoever sends a
 * second one wants an end now, yet the work in flight is still given back, in one statement: otherwise the next
 * instance would have to wait for this one to be seen dead. No signal is ever left to Node's default, which would
 * end the process in the middle of a write.
 */

/** What can be started, drained and cut short; the runner. */
export interface Stoppable {
  start(): Promise<void>
  /** Drains; may be called at any moment. */
  stop(reason?: string): Promise<void>
  /** Gives the work in flight back at once. */
  abort(): Promise<void>
}

/** Giving back is one statement; a database that does not answer must not keep a process that was told to go. */
const ABORT_LIMIT_MS = 3000

/** One key press: the terminal tells every process in its foreground, and npm tells its child once more. */
const ECHO_MS = 500
const ECHOED: ReadonlySet<ShutdownSignal> = new Set(['SIGINT', 'SIGHUP'])

const SIGNALS = Object.keys(EXIT_BY_SIGNAL) as readonly ShutdownSignal[]

/** Starts the runner, calls `ready`, drains at the first signal; resolves with the exit code. */
export async function shutdownBySignals(runner: Stoppable, log: Log, ready: () => void): Promise<number> {
  const say = (event: 'drain_failed' | 'start_failed' | 'crashed', what: string, error: unknown): void =>
    log.event(event, `${what}: ${cleanText(messageOf(error))}`, cleanError(error))

  const ended = Promise.withResolvers<number>()
  let first: ShutdownSignal | undefined
  let firstAt = 0

  const drain = async (signal: ShutdownSignal): Promise<void> => {
    try {
      await runner.stop(signal)
      ended.resolve(EXIT.done)
    } catch (error) {
      say('drain_failed', 'the drain failed', error)
      ended.resolve(EXIT.failed)
    }
  }
  const giveBack = async (code: number): Promise<void> => {
    await abortWithin(runner, log, ABORT_LIMIT_MS)
    ended.resolve(code)
  }
  const onSignal = (signal: ShutdownSignal): void => {
    if (first === undefined) {
      first = signal
      firstAt = performance.now()
      void drain(signal)
    } else if (signal !== first || !ECHOED.has(signal) || performance.now() - firstAt > ECHO_MS) {
      void giveBack(EXIT_BY_SIGNAL[signal])
    }
  }
  const onCrash = (error: unknown): void => {
    say('crashed', 'crashed', error)
    // Not given back: somebody's code ended this process, and what it ran is taken back as from a dead one, which costs
    // it an attempt. Given back unburned, a message that does this would end process after process for ever.
    ended.resolve(EXIT.failed)
  }

  // Nothing was drained; and 0 would tell whoever watches this process that it meant to leave, and need not be started again.
  const onExit = (code: number): void => {
    say('crashed', 'crashed', new Error(`a handler, or something it uses, called process.exit(${code})`))
    if (code === EXIT.done) process.exitCode = EXIT.failed
  }

  const onWarning = (warning: Error): void =>
    log.event('runtime_warning', `Node.js warns: ${cleanError(warning).text}`, cleanError(warning))
  // Node's own listener prints lines that are none of the log's, with paths in them.
  const printing = process.listeners('warning')
  process.removeAllListeners('warning').on('warning', onWarning)
  for (const signal of SIGNALS) process.on(signal, onSignal)
  process.on('uncaughtException', onCrash)
  process.on('exit', onExit)
  try {
    const started = await Promise.race([runner.start().then(() => true), ended.promise.then(() => false)])
    // After a crash, or a signal that has already begun the drain, there is nothing to greet for.
    if (started && first === undefined) ready()
    return await ended.promise
  } catch (error) {
    if (first !== undefined) return await ended.promise
    say('start_failed', 'start failed', error)
    await abortWithin(runner, log, ABORT_LIMIT_MS)
    return EXIT.failed
  } finally {
    for (const signal of SIGNALS) process.off(signal, onSignal)
    process.off('uncaughtException', onCrash)
    process.off('exit', onExit)
    process.off('warning', onWarning)
    for (const listener of printing) process.on('warning', listener)
  }
}

async function abortWithin(runner: Stoppable, log: Log, limitMs: number): Promise<void> {
  const limit = Promise.withResolvers<undefined>()
  const timer = setTimeout(() => limit.resolve(undefined), limitMs)
  // What cannot be given back now is reclaimed by the other instances.
  const aborted = runner
    .abort()
    .catch((error: unknown) => log.event('drain_failed', 'work could not be given back', cleanError(error)))
  await Promise.race([aborted, limit.promise])
  clearTimeout(timer)
}
