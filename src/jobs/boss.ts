import { PgBoss, systemClock, type Clock, type SendOptions } from 'pg-boss'
import { SchemaIncompatible } from '../errors.ts'
import type { SessionAddress } from '../db/connection.ts'
import type { Pool } from '../db/pool.ts'
import { errorClass } from '../db/sqlstate.ts'
import { cleanError } from '../telemetry/errorText.ts'
import { harmlessPropagator, harmlessProvider } from '../telemetry/harmless.ts'
import type { Log } from '../telemetry/log.ts'
import { within } from '../kit/within.ts'
import { createBossDatabase } from './database.ts'
import { startDueLook, type DueLook } from './dueLook.ts'
import { createListen } from './listener.ts'
import { BOSS_SCHEMA, BOSS_SCHEMA_VERSION, bossSchemaVersion } from './schema.ts'
import {
  GIVE_BACK_LIMIT_MS,
  startWorker,
  type BossWorker,
  type HeldJob,
  type JobHandler,
  type PollingOptions,
} from './workers.ts'

export interface BossOptions {
  /** The work pool: pg-boss's statements count as work. */
  readonly pool: Pool
  /** For LISTEN; without it pg-boss only polls. */
  readonly session?: SessionAddress | undefined
  readonly log: Log
  /** This instance's readable name, for pg-boss's own registry. */
  readonly instanceId: string
  /**
   * Whether this role may make tables of pg-boss's, one a day for its statistics, and rebuild its indexes. One that may
   * not keeps none of both: with the first of such tables that it could not make, pg-boss's whole upkeep would end.
   * Default: true.
   */
  readonly maintains?: boolean
  /** pg-boss reported an error; what it is, it does not always say. */
  readonly onError?: () => void
  /** How long a stop waits for jobs to be given back, in milliseconds. Default: 2 s; a test's disk may stall for longer. */
  readonly giveBackLimitMs?: number
  /** Time and timers, for tests. Default: the system's. */
  readonly clock?: Clock
}

export interface QueueHealth {
  readonly status: 'ok' | 'degraded'
  readonly detail: string
}

/** The job to queue when another ends. */
export interface NextJob {
  readonly data?: object
  readonly options: SendOptions
}

/** pg-boss as one part of an instance: started, stopped and asked how it is. */
export interface Boss {
  readonly pool: Pool
  readonly log: Log
  /** For this folder only. */
  readonly pg: PgBoss
  /** Throws {@link SchemaIncompatible} when the schema is missing or older than the code; runs on a newer one. */
  start(): Promise<void>
  /** Fetches no more jobs and starts no worker; jobs that run go on. An early step of a drain. */
  stopFetching(): Promise<void>
  /**
   * Waits up to `graceMs` (default 0) for running jobs, gives the rest back unburned, and stops. Never throws, and
   * is bounded even when the database is away. @returns how many jobs were given back
   */
  stop(options?: { graceMs?: number }): Promise<{ givenBack: number }>
  /** By progress: workers that fetch, no errors lately, ticks that come as jobs. */
  health(): QueueHealth
  work(queue: string, options: PollingOptions, handler: JobHandler): Promise<BossWorker>
  /** Completes an attempt (or fails it, given an error) and queues the next job, in one transaction. */
  finish(job: HeldJob | undefined, next: { queue: string } & NextJob, error?: unknown): Promise<void>
  /** How a due pass of a queue came; `undefined` when this instance no longer leads it. */
  noteTick(queue: string, came: 'job' | 'backstop' | undefined): void
}

/** How long after an error or a backstop the queue still counts as degraded, in ms. */
const LATELY_MS = 60_000
/** The same error again is logged once in this time: workers without a database fail twice a second. */
const REPEAT_MS = 30_000
/** pg-boss ends its errors with the queue and the worker; every worker meets the same one. */
const WHERE_IT_WAS = / \(Queue: .*$/
/** pg-boss's own queue, through which every tick of a schedule goes … */
const TICK_QUEUE = '__pgboss__send-it'
/** … and how long a dead instance may keep one, in seconds. Its default is a quarter of an hour, in which no tick is sent. */
const TICK_EXPIRE_S = 15
/** Bound of pg-boss's own stop, in ms, after everything that runs was given back. */
const STOP_LIMIT_MS = 3_000

/** Makes pg-boss on our pool; opens nothing until `start()`. */
export function createBoss(options: BossOptions): Boss {
  const { pool, log, giveBackLimitMs = GIVE_BACK_LIMIT_MS } = options
  const { session, instanceId } = options
  const listen = session === undefined ? undefined : createListen(session, `tidemark:${instanceId}`, log)
  const database = createBossDatabase(pool, listen)
  const pg = new PgBoss({
    db: database,
    schema: BOSS_SCHEMA,
    // Does nothing at or above the code's version, which start() has made sure of; `false` would refuse a newer
    // schema, and with it a rollback.
    migrate: true,
    useListenNotify: listen !== undefined,
    instanceName: instanceId,
    persistWarnings: true,
    persistQueueStats: options.maintains !== false,
    reindex: options.maintains !== false,
    // A job carries the span that sent it, and its handler's span is a child of that. Nothing without an SDK.
    openTelemetry: {
      propagateContext: true,
      tracerProvider: harmlessProvider,
      propagator: harmlessPropagator,
    },
    // Nothing here is a flow; three statements every five seconds, by default, look after them.
    flowIntervalSeconds: 3_600,
    // A tick is sent within the cron pass's 30 s and the look for what is due; by itself its worker looks seldom.
    cronWorkerIntervalSeconds: 45,
    ...(options.clock === undefined ? {} : { clock: options.clock }),
  })
  const workers = new Set<BossWorker>()
  const ticks = new Map<string, { came: 'job' | 'backstop'; backstopAt: number | undefined }>()
  let state: 'new' | 'running' | 'not fetching' | 'stopped' = 'new'
  let lastError: { class: string; at: number } | undefined
  const saidAt = new Map<string, number>()
  let missingSaid = false
  let dueLook: DueLook | undefined

  /** The same again within the time, whichever worker met it. */
  function isRepeated(text: string): boolean {
    const now = performance.now()
    for (const [said, at] of saidAt) if (now - at >= REPEAT_MS) saidAt.delete(said)
    const what = text.replace(WHERE_IT_WAS, '')
    if (saidAt.has(what)) return true
    saidAt.set(what, now)
    return false
  }

  // Without a listener an error event would end the process.
  pg.on('error', (error: unknown) => {
    options.onError?.()
    const whole = asError(error)
    const { class: name, text } = cleanError(whole)
    lastError = { class: name, at: performance.now() }
    const meaning = errorClass(whole)
    // That the database is away is told by the pulse, for all at once.
    if (meaning === 'connection') return
    if (meaning === 'missing_table') sayMissing()
    else if (!isRepeated(text))
      log.event('loop_failed', `pg-boss reported an error: ${text}`, { loop: 'pg-boss', class: name, text })
  })

  function wakeTicks(): void {
    for (const { id, name } of pg.getWipData({ includeInternal: true }))
      if (name === TICK_QUEUE) pg.notifyWorker(id)
  }

  function sayMissing(): void {
    if (missingSaid) return
    missingSaid = true
    const command = 'tidemark migrate'
    const msg = `CRITICAL: a table of the schema ${BOSS_SCHEMA} is missing: run \`${command}\`, then restart every instance, which makes its queues again`
    log.event('table_missing', msg, { table: BOSS_SCHEMA, command })
  }

  pg.on('warning', ({ message }) => {
    const { text } = cleanError(message)
    if (!isRepeated(text)) log.event('queue_warning', `pg-boss: ${text}`, { text })
  })

  function troubles(): string[] {
    if (state !== 'running' && state !== 'not fetching') return ['pg-boss is not running']
    const now = performance.now()
    const found = [...workers].flatMap((worker) => worker.trouble() ?? [])
    if (lastError !== undefined && now - lastError.at < LATELY_MS)
      found.push(`pg-boss reported an error (${lastError.class}); the log has its text`)
    for (const [queue, { came, backstopAt }] of ticks) {
      const lately = backstopAt !== undefined && now - backstopAt < LATELY_MS
      if (came === 'backstop' || lately)
        found.push(`the jobs of ${queue} did not come, its leader makes the passes`)
    }
    return found
  }

  return {
    pool,
    log,
    pg,
    async start() {
      const found = await bossSchemaVersion(pool)
      if (found === null || found < BOSS_SCHEMA_VERSION)
        throw new SchemaIncompatible(BOSS_SCHEMA, found, BOSS_SCHEMA_VERSION)
      await pg.start()
      await pg.updateQueue(TICK_QUEUE, { expireInSeconds: TICK_EXPIRE_S })
      state = 'running'
      dueLook = startDueLook({
        db: pool,
        clock: options.clock ?? systemClock,
        queues: () => [TICK_QUEUE, ...new Set([...workers].map(({ queue }) => queue))],
        onDue: (queue) => {
          if (queue === TICK_QUEUE) wakeTicks()
          for (const worker of workers) if (worker.queue === queue) worker.wake()
        },
      })
    },
    async stopFetching() {
      state = 'not fetching'
      dueLook?.stop()
      await Promise.allSettled([...workers].map((worker) => worker.stopFetching()))
    },
    async stop({ graceMs = 0 } = {}) {
      state = 'stopped'
      dueLook?.stop()
      const counts = await Promise.allSettled([...workers].map((worker) => worker.close(graceMs)))
      workers.clear()
      await within(STOP_LIMIT_MS, pg.stop({ graceful: true, timeout: STOP_LIMIT_MS - 1_000 }))
      const givenBack = counts.reduce(
        (sum, count) => sum + (count.status === 'fulfilled' ? count.value : 0),
        0,
      )
      return { givenBack }
    },
    health() {
      const found = troubles()
      return found.length === 0
        ? { status: 'ok', detail: '' }
        : { status: 'degraded', detail: found.join('; ') }
    },
    async work(queue, polling, handler) {
      if (state !== 'running') throw new Error('pg-boss fetches no jobs here any more')
      const worker = await startWorker(pg, { pool, log, giveBackLimitMs }, queue, polling, handler)
      workers.add(worker)
      return {
        queue,
        get held() {
          return worker.held
        },
        wake: () => worker.wake(),
        stopFetching: (wanted) => worker.stopFetching(wanted),
        trouble: () => worker.trouble(),
        close: async (graceMs) => {
          workers.delete(worker)
          return worker.close(graceMs)
        },
      }
    },
    async finish(job, { queue, data, options: send }, error) {
      const transaction = await database.beginTransaction()
      try {
        const { db } = transaction
        if (job !== undefined) {
          if (error === undefined) await pg.complete(queue, job, null, { db })
          else await pg.fail(queue, job, { ...cleanError(error) }, { db })
        }
        await pg.send(queue, data ?? null, { ...send, db })
        await transaction.commit()
      } catch (failure) {
        await transaction.rollback()
        throw failure
      }
    },
    noteTick(queue, came) {
      if (came === undefined) {
        ticks.delete(queue)
        return
      }
      const backstopAt = came === 'backstop' ? performance.now() : ticks.get(queue)?.backstopAt
      ticks.set(queue, { came, backstopAt })
    },
  }
}

/** Workers report a plain object with the fields of the error they caught. */
function asError(error: unknown): unknown {
  if (error instanceof Error || typeof error !== 'object' || error === null) return error
  const { code, severity, message } = error as Readonly<Record<string, unknown>>
  return Object.assign(new Error(typeof message === 'string' ? message : 'unknown error'), {
    ...(code === undefined ? {} : { code }),
    // By which the code is known for a SQLSTATE.
    ...(severity === undefined ? {} : { severity }),
  })
}
