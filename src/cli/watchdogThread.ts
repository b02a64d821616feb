import { workerData } from 'node:worker_threads'
import { BEATS, DEBUGGED } from './watchdog.ts'
import type { Watched } from './watchdog.ts'

/*
 * The watchdog's thread; see watchdog.ts. A timer of its own counts its looks, so a process that was stopped, thread and
 * all, is one look older when it goes on, however long that was.
 */
const LOOK_MS = 1_000

const { shared, limitMs, service, instanceId, format } = workerData as Watched
const cells = new Int32Array(shared)
let seen = -1
let still = 0

async function end(): Promise<void> {
  // Loaded only now: for as long as nobody needs it, it would be memory.
  const { createLog } = await import('../telemetry/log.ts')
  const msg =
    `the event loop has stood still for ${still} s, longer than any handler may take, and this process is ended; what it ` +
    'had in work is run again with nothing beside it. A handler must await now and then, or do its work in a thread'
  createLog({ service, instanceId, format }).event('event_loop_blocked', msg, {
    blocked_s: (still * LOOK_MS) / 1000,
    limit_s: limitMs / 1000,
  })
  process.kill(process.pid, 'SIGKILL')
}

const timer = setInterval(() => {
  const beats = Atomics.load(cells, BEATS)
  still = beats === seen && Atomics.load(cells, DEBUGGED) === 0 ? still + 1 : 0
  seen = beats
  if (still * LOOK_MS < limitMs) return
  clearInterval(timer)
  void end()
}, LOOK_MS)
