import type { ResolvedJob } from '../config/resolved.ts'
import type { Pool } from '../db/pool.ts'
import { cleanError } from '../telemetry/errorText.ts'
import type { Log } from '../telemetry/log.ts'
import type { Boss } from './boss.ts'
import { createClaims } from './claims.ts'
import type { Hold } from './hold.ts'
import { forgetSchedules } from './jobRows.ts'
import { DEAD_QUEUE, jobQueue } from './queues.ts'
import { runJob } from './runJob.ts'
import type { Sender } from './send.ts'
import type { BossWorker, HeldJob } from './workers.ts'

/*
 * Users' jobs: by cron, by rule, or sent.
 *
 * A job is a queue `job.<name>`, with a pg-boss schedule where it has one. The policy of all is `exclusive`: one job a key is
 * queued, active or waiting for a retry in the whole cluster. Ticks have one key, so two runs never overlap, and a tick that
 * falls into a run is dropped (the next tick comes). Ticks that nobody saw are made up for once (`missed: 'once'`).
 *
 *   tick, send → queued → fetched → claimed → started → done
 *                            │                  ├→ threw, or ran past its timeout → retried with backoff, up to its limit
 *                            │                  │     → failed, and a copy in `jobs.dead`
 *                            │                  ├→ drain over → signal aborted, given back unburned, started again elsewhere
 *                            │                  └→ process died → given back by the others within seconds (takeBack.ts)
 *                            └→ its answer never came, or the process died here → given back (dueLook.ts)
 *
 * pg-boss's own heartbeat and expiry stand behind all this, for the day on which no instance is there to look.
 *
 * A held job (paused) is not fetched: its worker is closed, its run under way goes on, and what was fetched meanwhile is
 * given back before it begins.
 */

export interface Jobs {
  /** Makes the queues and schedules and starts to work; throws what the database says. */
  start(): Promise<void>
  /** What is held may have changed, or a job may be due: look now. */
  wake(): void
  /** Fetches no more; waits up to `drainMs` for handlers, then aborts them and gives their jobs back. */
  stop(drainMs: number): Promise<{ givenBack: number }>
  /** Names of the jobs whose handlers run here, once per run. */
  running(): string[]
}

/**
 * A job whose process died is noticed by pg-boss after this, and up to 60 s more, in seconds. Long, since it burns a retry:
 * the others are to be first, also where all were away for a while.
 */
const HEARTBEAT_S = 900
/**
 * pg-boss's own limit lies above ours, which is exact to the millisecond and ends the handler with a clear error. It counts
 * pauses of the process, which ours does not: it is out of their way for as long as they leave us the job.
 */
const EXPIRE_MARGIN_S = 60
/** First wait before a retry, in seconds; doubled each time up to the longest. */
const RETRY_DELAY_S = 5
const RETRY_DELAY_MAX_S = 300
/** How long a dead job can be sent again, in seconds. */
const KEEP_DEAD_S = 30 * 86_400
/** A worker that is not woken looks by itself; the look of the whole instance is sooner. */
const LOOK_EVERY_S = 30
/** A pause that could not be followed (the database is away) is tried again after this. */
const MATCH_AGAIN_MS = 1_000

/** Makes the queues of all jobs that can be sent; by every instance, since any may send. */
export async function makeJobQueues(boss: Pick<Boss, 'pg'>, jobs: readonly ResolvedJob[]): Promise<void> {
  if (jobs.length === 0) return
  await boss.pg.createQueue(DEAD_QUEUE, { retentionSeconds: KEEP_DEAD_S })
  for (const job of jobs) {
    const settings = {
      retryLimit: job.retryLimit,
      retryDelay: RETRY_DELAY_S,
      retryBackoff: true,
      retryDelayMax: RETRY_DELAY_MAX_S,
      expireInSeconds: Math.ceil(job.timeoutMs / 1000) + EXPIRE_MARGIN_S,
      heartbeatSeconds: HEARTBEAT_S,
      deadLetter: DEAD_QUEUE,
      notify: true,
    }
    const queue = jobQueue(job.name)
    await boss.pg.createQueue(queue, { policy: 'exclusive', ...settings })
    await boss.pg.updateQueue(queue, settings)
  }
}

/** The ticks of a job that was removed from the config would be sent for ever, to nobody. */
export async function forgetRemovedJobs(pool: Pool, jobs: readonly ResolvedJob[]): Promise<void> {
  await forgetSchedules(
    pool,
    jobs.map(({ name }) => jobQueue(name)),
  )
}

export function createJobs(options: {
  readonly boss: Boss
  readonly jobs: readonly ResolvedJob[]
  readonly instanceId: string
  readonly send: Sender
  readonly log: Log
  /** Whether a job may not begin now. Default: none is held. */
  readonly held?: (job: string) => boolean
}): Jobs {
  const { boss, jobs, log, send, held: isHeld = () => false } = options
  const claims = createClaims(boss.pool, options.instanceId)
  const workers = new Map<string, BossWorker>()
  const runs = new Set<{ readonly name: string }>()
  /** Workers of held jobs whose run under way goes on. */
  const parked = new Set<BossWorker>()
  let isStopped = false
  let matching: Promise<void> = Promise.resolve()

  async function register(job: ResolvedJob): Promise<void> {
    const queue = jobQueue(job.name)
    if (job.schedule === null) await boss.pg.unschedule(queue)
    else await boss.pg.schedule(queue, job.schedule, null, { tz: job.tz, missed: job.missed })
    if (!isHeld(job.name)) await work(job)
  }

  async function work(job: ResolvedJob): Promise<void> {
    const polling = { pollingIntervalSeconds: LOOK_EVERY_S, notifyPollingIntervalSeconds: LOOK_EVERY_S }
    const worker = await boss.work(jobQueue(job.name), polling, (...attempt) => begin(job, ...attempt))
    workers.set(job.name, worker)
  }

  /** One after the other: a job has one worker, or none while it is held. */
  async function match(): Promise<void> {
    for (const worker of parked) {
      if (worker.held > 0) continue
      parked.delete(worker)
      await worker.close(0)
    }
    for (const job of jobs) {
      if (isStopped) return
      const worker = workers.get(job.name)
      if (isHeld(job.name) && worker !== undefined) {
        workers.delete(job.name)
        parked.add(worker)
        await worker.stopFetching(true)
      } else if (!isHeld(job.name) && worker === undefined) await work(job)
      else worker?.wake()
    }
  }

  async function begin(job: ResolvedJob, held: HeldJob, given: AbortSignal, hold: Hold): Promise<void> {
    const isOurs = !isHeld(job.name) && (await claims.claim(held).catch(() => undefined))
    if (isOurs !== true) {
      // Held, or nobody could be told that we run it: not begun, not burned. Where it is not ours this does nothing.
      await hold.giveBack()
      return
    }
    const entry = { name: job.name }
    runs.add(entry)
    try {
      await runJob({ job, held, given, send, log })
      await hold.settle()
    } catch (error) {
      if (!given.aborted) await hold.settle({ error })
      throw error
    } finally {
      runs.delete(entry)
      claims.ended(held)
      // More of them may be waiting: pg-boss fetches one a look.
      workers.get(job.name)?.wake()
    }
  }

  function wake(): void {
    matching = matching.then(match).catch((error: unknown) => {
      log.event('loop_failed', 'a pause of a job, or its end, could not be followed', {
        loop: 'jobs',
        ...cleanError(error),
      })
      setTimeout(wake, MATCH_AGAIN_MS).unref()
    })
  }

  return {
    async start() {
      for (const job of jobs) await register(job)
    },
    wake,
    async stop(drainMs) {
      isStopped = true
      await matching
      const open = [...workers.values(), ...parked]
      workers.clear()
      parked.clear()
      const counts = await Promise.all(open.map((worker) => worker.close(drainMs)))
      await claims.close()
      return { givenBack: counts.reduce((sum, count) => sum + count, 0) }
    },
    running: () => [...runs].map(({ name }) => name),
  }
}
