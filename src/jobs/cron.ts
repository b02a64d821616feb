import type { ResolvedJob } from '../config/resolved.ts'
import { startLimit } from '../kit/limit.ts'
import { cleanError } from '../telemetry/errorText.ts'
import { handlerLog, type Log } from '../telemetry/log.ts'
import { newTraceId, traceHeaders } from '../telemetry/trace.ts'
import type { Boss } from './boss.ts'
import type { BossWorker, HeldJob } from './workers.ts'

/*
 * Users' cron jobs.
 *
 * A job is a queue `job.<name>` with a pg-boss schedule. Its policy is `exclusive`: at most one run is queued, active
 * or waiting for a retry in the whole cluster, so two never overlap, and a tick that falls into a run is dropped (the
 * next tick comes). Ticks that nobody saw are made up for once (`missed: 'once'`).
 *
 *   tick → queued → started → done
 *                     ├→ threw, or ran past its timeout → retried with backoff, up to its limit → failed
 *                     ├→ drain over → signal aborted, given back unburned, another instance starts it again
 *                     └→ process died → pg-boss hears no heartbeat → retried, or failed at its limit
 *
 * A paused job (`held`) is fetched by nobody: the first tick of the pause waits in its queue, the policy drops the
 * others, and at the resume that one run makes up for all. A run under way goes on; a retry of it waits.
 */

export interface Jobs {
  /** Makes the queues and schedules and starts to work; throws what the database says. */
  start(): Promise<void>
  /** Fetches no more; waits up to `drainMs` for handlers, then aborts them and gives their jobs back. */
  stop(drainMs: number): Promise<{ givenBack: number }>
  /** What `held` says has changed. */
  wake(): void
  /** Names of the jobs whose handlers run here, once per run. */
  running(): string[]
}

/** A job whose process died is noticed after this and up to 60 s more, in seconds. pg-boss allows 10 at least. */
const HEARTBEAT_S = 60
/**
 * pg-boss's own limit lies above ours, which is exact to the millisecond and ends the handler with a clear error. It counts
 * pauses of the process, which ours does not: it is out of their way for as long as they leave us the job.
 */
const EXPIRE_MARGIN_S = HEARTBEAT_S
/** First wait before a retry, in seconds; doubled each time up to the longest. */
const RETRY_DELAY_S = 5
const RETRY_DELAY_MAX_S = 300
/** How often a worker looks when no notification comes: retries and jobs given back are not announced. */
const LOOK_EVERY_S = 2
/** A pause that could not be followed (the database is away) is tried again after this. */
const FOLLOW_AGAIN_MS = 1_000

/** The queue of a user's job. */
export function jobQueue(job: string): string {
  return `job.${job}`
}

export function createJobs(options: {
  readonly boss: Boss
  readonly jobs: readonly ResolvedJob[]
  readonly log: Log
  /** Whether no run of a job may start; what runs goes on. Default: it may. */
  readonly held?: (job: string) => boolean
}): Jobs {
  const { boss, jobs, log, held = () => false } = options
  /** Those that fetch, by job. */
  const workers = new Map<string, BossWorker>()
  /** Those that were stopped by a pause, whose run may go on. */
  const former: BossWorker[] = []
  const runs = new Set<{ readonly name: string }>()
  /** One after the other: a queue has one worker. */
  let following: Promise<void> = Promise.resolve()
  let stopped = false

  async function register(job: ResolvedJob): Promise<void> {
    const queue = jobQueue(job.name)
    const settings = {
      retryLimit: job.retryLimit,
      retryDelay: RETRY_DELAY_S,
      retryBackoff: true,
      retryDelayMax: RETRY_DELAY_MAX_S,
      expireInSeconds: Math.ceil(job.timeoutMs / 1000) + EXPIRE_MARGIN_S,
      heartbeatSeconds: HEARTBEAT_S,
      notify: true,
    }
    await boss.pg.createQueue(queue, { policy: 'exclusive', ...settings })
    await boss.pg.updateQueue(queue, settings)
    await boss.pg.schedule(queue, job.cron, null, { tz: job.tz, missed: 'once' })
  }

  async function work(job: ResolvedJob): Promise<void> {
    const polling = { pollingIntervalSeconds: LOOK_EVERY_S, notifyPollingIntervalSeconds: LOOK_EVERY_S }
    const worker = await boss.work(jobQueue(job.name), polling, (given, signal) => run(job, given, signal))
    workers.set(job.name, worker)
  }

  /** A job that is held has no worker: its queue keeps the one run that its policy allows, until somebody fetches it. */
  async function follow(): Promise<void> {
    for (const worker of former.splice(0)) {
      if (worker.held > 0) former.push(worker)
      else await worker.close(0)
    }
    for (const job of jobs) {
      const worker = workers.get(job.name)
      if (held(job.name) && worker !== undefined) {
        workers.delete(job.name)
        former.push(worker)
        await worker.stopFetching(true)
      } else if (!held(job.name) && worker === undefined) await work(job)
    }
  }

  async function run(job: ResolvedJob, taken: HeldJob, given: AbortSignal): Promise<void> {
    const entry = { name: job.name }
    const start = performance.now()
    const traceId = newTraceId()
    const about = { job: job.name, job_id: taken.id, attempt: taken.retryCount + 1, trace_id: traceId }
    const elapsed = (): number => Math.round(performance.now() - start)
    const limit = new AbortController()
    const endLimit = startLimit(job.timeoutMs, () => limit.abort(new JobTimedOut(job.name, job.timeoutMs)))
    const signal = AbortSignal.any([given, limit.signal])
    runs.add(entry)
    log.event('job_started', `${job.name} started`, about)
    try {
      const context = {
        log: handlerLog(log, { task: job.name, trace_id: traceId }),
        signal,
        traceId,
        traceHeaders: () => traceHeaders(traceId),
      }
      const handled = Promise.resolve(job.handle({ id: taken.id, name: job.name, data: taken.data }, context))
      await Promise.race([handled, rejectOnAbort(limit.signal)])
      log.event('job_done', `${job.name} done`, { ...about, duration_ms: elapsed() })
    } catch (error) {
      // Given back: nobody failed, and nothing of this attempt is written any more.
      if (!given.aborted) {
        const failure = { ...about, ...cleanError(error), duration_ms: elapsed() }
        log.event('job_failed', `${job.name} failed`, failure)
      }
      throw error
    } finally {
      endLimit()
      runs.delete(entry)
    }
  }

  function failed(error: unknown): void {
    const { class: errorClass, text } = cleanError(error)
    log.event('loop_failed', `a pause of a job, or its end, could not be followed: ${text}`, {
      loop: 'jobs',
      class: errorClass,
      text,
    })
    setTimeout(wake, FOLLOW_AGAIN_MS).unref()
  }

  function wake(): void {
    following = following.then(() => (stopped ? undefined : follow())).catch(failed)
  }

  return {
    async start() {
      for (const job of jobs) await register(job)
      await follow()
    },
    async stop(drainMs) {
      stopped = true
      await following
      const all = [...workers.values(), ...former.splice(0)]
      workers.clear()
      const counts = await Promise.all(all.map((worker) => worker.close(drainMs)))
      return { givenBack: counts.reduce((sum, count) => sum + count, 0) }
    },
    wake,
    running: () => [...runs].map(({ name }) => name),
  }
}

class JobTimedOut extends Error {
  override readonly name = 'JobTimedOut'
  constructor(job: string, timeoutMs: number) {
    super(`${job} ran longer than its timeout of ${timeoutMs} ms; its signal was aborted`)
  }
}

function rejectOnAbort(signal: AbortSignal): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>()
  signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
  return promise
}
