/**
 * The duties of upkeep: those of every instance, and those of each poller, which only an instance that has it in its config
 * can do, from a queue of the poller's own.
 */
import type { ResolvedJob } from '../config/resolved.ts'
import type { Pool } from '../db/pool.ts'
import { sourceChange } from '../ingest/sameSource.ts'
import { sweep } from '../ingest/sweep.ts'
import { forgetRemovedJobs } from '../jobs/userJobs.ts'
import { UPKEEP_QUEUE } from '../jobs/upkeep.ts'
import type { Duty, Upkeep } from '../jobs/upkeep.ts'
import { forgetOrphanedAttempts } from '../process/forgetOrphans.ts'
import { bringRetriesForward } from '../process/retries.ts'
import { forgetFinished } from '../process/retention.ts'
import type { Walk } from '../process/retention.ts'
import {
  forgetHistory,
  forgetSteps,
  ROLL_UP_EVERY_MS,
  rollUpHistory,
  sampleHistory,
} from '../tables/history.ts'
import { forgetStopped } from '../tables/instance.ts'
import { forgetRuns } from '../tables/pollRun.ts'
import { findTask } from '../tables/task.ts'
import { askForSweep } from '../tables/sweep.ts'
import { cleanError } from '../telemetry/errorText.ts'
import type { Log } from '../telemetry/log.ts'
import { takeBackLost } from './lost.ts'
import type { RegisteredPoller } from './registration.ts'

/** How long stopped instances and passes are remembered. */
const DAY_MS = 86_400_000
const KEEP_RUNS_MS = 8 * DAY_MS
const FORGET_BATCH = 5_000
const UPKEEP_EVERY_MS = 3_600_000
const LOST_EVERY_MS = 60_000

/** The history is kept as long as the ledger is. */
const KEEP_HISTORY_MS = KEEP_RUNS_MS
const MINUTE_MS = 60_000
/** A queue is looked at every 5 s: begun so far into a minute, a sample is in it, however late its job is seen. */
const SAMPLE_AT_MS = 5_000

/** A tenth of the retention, so that no message is kept much longer; never so seldom that a run has hours to make up for. */
const RETENTION_SHARE = 10
const RETENTION_MOST_MS = 600_000
const RETENTION_LEAST_MS = 1_000

/** A pass reads again what was written in two intervals and half a minute; four times that half, for one that is slow. */
const REREAD_MS = 120_000

/** What was left over goes on after a pause in which other duties have their turn. */
export const GO_ON_MS = 1_000

/** A poller without a watermark has not been led yet, one that is paused is looked at again: a moment more. */
const NOT_YET_MS = 10_000

/** `jobs`: all that the config has, whether or not they run here. */
export function commonDuties(pool: Pool, instanceId: string, jobs: readonly ResolvedJob[], log: Log): Duty[] {
  let orphansAfter = '0'
  /** By the monotonic clock: when the history is rolled up here next. */
  let rollUpAt = 0
  return [
    {
      // What each instance counts it writes itself (history.ts); this is what one of them can see for all.
      name: 'history',
      everyMs: MINUTE_MS,
      async run(signal) {
        const nowMs = await sampleHistory(pool)
        await forgetHistory(pool, KEEP_HISTORY_MS)
        // By whichever instance has the duty, as often for each: what another one has just done costs 20 ms.
        if (performance.now() >= rollUpAt) {
          while (!signal.aborted && !(await rollUpHistory(pool)));
          await forgetSteps(pool, KEEP_HISTORY_MS)
          rollUpAt = performance.now() + ROLL_UP_EVERY_MS
        }
        return MINUTE_MS - (nowMs % MINUTE_MS) + SAMPLE_AT_MS
      },
    },
    {
      name: 'instances',
      everyMs: UPKEEP_EVERY_MS,
      run: async () => {
        await forgetStopped(pool, DAY_MS)
      },
    },
    {
      // Those of the last instance that had a job are forgotten once it is gone, not when the first one comes without.
      name: 'schedules',
      everyMs: UPKEEP_EVERY_MS,
      run: () => forgetRemovedJobs(pool, jobs),
    },
    {
      // An instance that said it stopped is watched by nobody; whatever it still had is found here.
      name: 'lost_messages',
      everyMs: LOST_EVERY_MS,
      async run() {
        await takeBackLost(pool, instanceId, log)
        await bringRetriesForward(pool, log)
      },
    },
    {
      name: 'attempts',
      everyMs: UPKEEP_EVERY_MS,
      async run(signal) {
        const slice = await forgetOrphanedAttempts({ db: pool, after: orphansAfter, signal })
        orphansAfter = slice.after
        return slice.isThrough ? undefined : GO_ON_MS
      },
    },
    {
      name: 'ledger',
      everyMs: UPKEEP_EVERY_MS,
      run: async (signal) => {
        while (!signal.aborted && (await forgetRuns(pool, KEEP_RUNS_MS, FORGET_BATCH)) === FORGET_BATCH);
      },
    },
  ]
}

/** Time between two runs of a retention. */
export function retentionEveryMs(retentionMs: number): number {
  return Math.max(RETENTION_LEAST_MS, Math.min(RETENTION_MOST_MS, retentionMs / RETENTION_SHARE))
}

/** The name of the duty that sweeps a poller's source. */
export function sweepDuty(poller: string): string {
  return `sweep.${poller}`
}

export function pollerDuties(options: {
  readonly pool: Pool
  readonly log: Log
  readonly registered: RegisteredPoller
  readonly maxAttempts: number
  /** So many rows came in. */
  readonly onInserted: (rows: number) => void
}): Duty[] {
  const { pool, log, maxAttempts, onInserted } = options
  const { poller, source, latenessMs } = options.registered
  const { name, everyMs, pageSize, retentionMs, sweepMs } = poller
  const rereadMs = 2 * everyMs + latenessMs + REREAD_MS
  let walk: Walk | undefined
  const queue = `${UPKEEP_QUEUE}.${name}`
  return [
    {
      name: `retention.${name}`,
      queue,
      everyMs: retentionEveryMs(retentionMs),
      async run(signal) {
        const slice = await forgetFinished({
          db: pool,
          name,
          retentionMs,
          rereadMs,
          signal,
          ...(walk && { walk }),
        })
        walk = slice.walk
        if (slice.forgotten > 0)
          log.event('messages_forgotten', `${name}: ${slice.forgotten} finished messages forgotten`, {
            poller: name,
            messages: slice.forgotten,
          })
        return slice.isThrough ? undefined : GO_ON_MS
      },
    },
    {
      name: sweepDuty(name),
      queue,
      everyMs: sweepMs,
      async run(signal) {
        // A reset gave the poller another source than this instance has.
        if (sourceChange(name, await findTask(pool, name), source) !== undefined) return 'leave'
        const end = await sweep({ db: pool, name, source, pageSize, maxAttempts, log, signal, onInserted })
        if (end === 'through') return undefined
        return end === 'refused' ? Math.min(sweepMs, NOT_YET_MS) : GO_ON_MS
      },
    },
  ]
}

/**
 * What passes rely on did not hold: a sweep begins as soon as may be, and what waits by a former clock waits by the present
 * one. Where that cannot be done now, both come at their time.
 */
export function lookAgain(options: {
  readonly pool: Pool
  readonly upkeep: Upkeep
  readonly log: Log
  readonly poller: string
  readonly reason: string
}): void {
  const { pool, upkeep, log, poller, reason } = options
  log.event('sweep_wanted', `${poller}: ${reason}: its source is swept at once`, { poller, reason })
  const asked = async (): Promise<void> => {
    // First the word, then the job: a sweep under way sees it at its end.
    await askForSweep(pool, poller)
    await upkeep.hasten(sweepDuty(poller))
    await bringRetriesForward(pool, log)
  }
  void asked().catch((error: unknown) => {
    log.event('loop_failed', `${poller}: the sweep could not be brought forward`, {
      loop: sweepDuty(poller),
      task: poller,
      ...cleanError(error),
    })
  })
}
