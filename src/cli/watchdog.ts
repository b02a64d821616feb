/**
 * The watchdog: ends a process whose event loop stands still, which nothing in that loop can do.
 *
 * A handler that never gives the event loop back (a loop without an await, a regular expression that runs away) passes
 * its limit unseen: the timer that would end it cannot fire. The others take its messages when the lease is over, but the
 * process would stand there for ever, with nothing to tell a supervisor that it must be started again. So a thread beside
 * the loop looks for its beat.
 *
 *     turning ──no beat since the last look──▶ still ──beat──▶ turning
 *                                                └──for the limit──▶ said, and the process is killed
 *
 * - *What it had in work*: was taken back by others when the lease was over, or is taken back as from the dead. Either way
 *   it is claimed alone from then on, and what blocks one process after another ends DEAD.
 * - *The process is stopped, or its host sleeps*: so does the thread, which counts its own looks and not the clock.
 * - *A debugger holds the program*: while one is attached nothing is counted.
 */
import inspector from 'node:inspector'
import { getCompileCacheDir } from 'node:module'
import { dirname } from 'node:path'
import { Worker } from 'node:worker_threads'
import type { Settings } from '../config/settings.ts'

export interface Watchdog {
  stop(): Promise<void>
}

/** What the thread is given; the loop's side writes `shared`: its beats, and whether a debugger is attached. */
export interface Watched {
  readonly shared: SharedArrayBuffer
  readonly limitMs: number
  readonly service: string
  readonly instanceId: string
  readonly format: 'json' | 'pretty'
}

export const BEATS = 0
export const DEBUGGED = 1

/** Several beats between two looks of the thread, which come every second. */
const BEAT_MS = 250

/** Kills this process when its event loop has stood still for `limitMs`, with a line that says so. */
export function watchEventLoop(
  { serviceName: service, logFormat: format }: Pick<Settings, 'serviceName' | 'logFormat'>,
  instanceId: string,
  limitMs: number,
): Watchdog {
  const shared = new SharedArrayBuffer(2 * Int32Array.BYTES_PER_ELEMENT)
  const cells = new Int32Array(shared)
  const beat = (): void => {
    Atomics.store(cells, DEBUGGED, inspector.url() === undefined ? 0 : 1)
    Atomics.add(cells, BEATS, 1)
  }
  const timer = setInterval(beat, BEAT_MS).unref()
  beat()
  // Compiled, the file beside this one ends otherwise, and a URL is not rewritten as an import is.
  const file = `./watchdogThread${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`
  const workerData: Watched = { shared, limitMs, service, instanceId, format }
  const thread = new Worker(new URL(file, import.meta.url), { workerData, stdin: false, env: threadEnv() })
  thread.unref()
  // Whatever ends the thread, the work goes on without it.
  thread.on('error', () => clearInterval(timer))
  return {
    async stop() {
      clearInterval(timer)
      await thread.terminate()
    },
  }
}

/** A thread finds its sources compiled where its environment says so, and only there. */
function threadEnv(): NodeJS.ProcessEnv {
  const cache = getCompileCacheDir()
  // The folder that was asked for has one for each version of Node.
  return cache === undefined ? process.env : { ...process.env, NODE_COMPILE_CACHE: dirname(cache) }
}
