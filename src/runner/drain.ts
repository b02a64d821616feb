/**
 * The drain: how an instance leaves, step by step, each within its limit and each said.
 *
 *     pollers handed over ─▶ nothing new claimed ─▶ handlers finish, or are aborted and given back
 *       ─▶ exclusive leases handed over ─▶ users' clean-ups, last registered first ─▶ pg-boss
 *
 * A step that fails is logged and the next one follows: leaving late or incomplete is mended by the others (leases run
 * out, sentinels fall, messages are taken back); staying would not be.
 */
import type { CleanUp } from '../config/types.ts'
import { within } from '../kit/within.ts'
import { cleanError } from '../telemetry/errorText.ts'
import type { Log } from '../telemetry/log.ts'
import { runCleanUps } from './cleanUps.ts'
import type { Work } from './work.ts'

export interface DrainOptions {
  readonly signal: string
  /** That this instance drains is in its record, or cannot be written. */
  readonly announced?: Promise<unknown> | undefined
  readonly drainTimeoutMs: number
  /** In order of registration; taken out as they are run. */
  readonly cleanUps: CleanUp[]
  readonly log: Log
}

/** How long a drain waits for the page at hand. */
const PAGE_LIMIT_MS = 2_000

/** How long a clean-up waits for the record to say that we drain: somebody may have it locked. */
const ANNOUNCED_LIMIT_MS = 1_000

/** How long an end waits for its counts to be written to the history, which can do without them. */
const HISTORY_LIMIT_MS = 1_000

/** Jobs must be given back before pg-boss would fail them; this much is kept for that. */
const JOB_MARGIN_MS = 500

export async function drain(
  work: Work,
  { signal, announced, drainTimeoutMs, cleanUps, log }: DrainOptions,
): Promise<void> {
  const startedAt = performance.now()
  const inWork = (): number =>
    work.processors.reduce((sum, { state }) => sum + state.inWork, 0) + work.jobs.running().length
  const left = (): number => Math.max(0, drainTimeoutMs - (performance.now() - startedAt))
  const said = (name: string): void => {
    const elapsedMs = Math.round(performance.now() - startedAt)
    log.event('drain_step', `drain: ${name}`, { step: name, waiting: inWork(), elapsed_ms: elapsedMs })
  }
  const step = async (name: string, act: () => Promise<unknown>): Promise<void> => {
    said(name)
    try {
      await act()
    } catch (error) {
      log.event('cleanup_failed', `drain: ${name} failed: ${cleanError(error).text}`, {
        ...cleanError(error),
        cleanup: name,
      })
    }
  }
  log.event('drain_started', `drain: ${signal}, ${inWork()} in flight`, { signal, in_flight: inWork() })

  for (const processor of work.processors) processor.stopClaiming()
  // The leases go first thing; a page that waits for somebody's lock must not eat the time of the handlers.
  await step('hand over pollers', () =>
    within(PAGE_LIMIT_MS, work.leaders.handOver(work.pollers.map(({ poller }) => poller.name))),
  )
  await step('stop fetching', () => work.boss.stopFetching())
  await step('finish what is in flight', () =>
    Promise.all([
      ...work.processors.map((processor) => processor.drain(left())),
      work.jobs.stop(Math.max(0, left() - JOB_MARGIN_MS)),
      work.upkeep.stop(Math.max(0, left() - JOB_MARGIN_MS)),
    ]),
  )
  const exclusive = work.processors.filter((processor) => processor.exclusive).map(({ name }) => name)
  await step('hand over exclusive processors', () => work.leaders.handOver(exclusive))
  if (announced !== undefined) await within(ANNOUNCED_LIMIT_MS, announced)
  await runCleanUps(cleanUps, log, undefined, said)
  await step('stop the queue', async () => {
    for (const tick of work.ticks) await tick.close()
    await work.boss.stop()
  })

  const finished = work.processors.reduce((sum, { state }) => sum + state.finished, 0)
  const givenBack = work.processors.reduce((sum, { state }) => sum + state.givenBack, 0)
  const elapsedMs = Math.round(performance.now() - startedAt)
  log.event('drain_completed', `drained in ${elapsedMs} ms`, {
    finished,
    given_back: givenBack,
    elapsed_ms: elapsedMs,
  })
}

/** Leaves without waiting for anybody's handler: what is in work is given back, and every lease with it. */
export async function giveBackAtOnce({ processors, leaders, pollers, jobs }: Work): Promise<void> {
  for (const processor of processors) processor.abort()
  await Promise.all([
    leaders.handOver(pollers.map(({ poller }) => poller.name)),
    jobs.stop(0),
    ...processors.map((processor) => processor.drain(0)),
  ])
  await leaders.handOver(processors.filter(({ exclusive }) => exclusive).map(({ name }) => name))
}

/** Takes the loops down, after a drain or instead of one. */
export async function stopWork(work: Work): Promise<void> {
  await work.leaders.stop()
  await Promise.all(work.processors.map((processor) => processor.stop()))
  // Behind the last outcome that could be written. A database that is away must not eat the time of what follows.
  await work.history.stop(HISTORY_LIMIT_MS)
  await work.pauses.stop()
  work.pressure.stop()
  await work.listener?.close()
}
