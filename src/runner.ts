/**
 * The runner: the only place that knows all parts. It starts them forward and stops them backward.
 *
 *     starting ──▶ ready ──stop──▶ draining ──▶ stopped
 *        └──────────stop───────────────┘
 *
 * HTTP listens first, so that `/live` and a truthful `/ready` are there from the start. `stop` may come at any moment
 * and any number of times; all callers wait for the same end. Losing the database ends neither the process nor its start.
 */
import type { TidemarkConfig } from './config/types.ts'
import type { Listening } from './http/server.ts'
import type { Loop } from './kit/loop.ts'
import { within } from './kit/within.ts'
import type { Runner } from './runner/api.ts'
import { runCleanUps } from './runner/cleanUps.ts'
import { transactionalHandlers } from './runner/concurrency.ts'
import { createCondition } from './runner/condition.ts'
import { createDenied } from './runner/denied.ts'
import { drain, giveBackAtOnce, stopWork } from './runner/drain.ts'
import { openPools, SCHEMAS, schemaReady } from './runner/foundation.ts'
import type { Pools } from './runner/foundation.ts'
import { listenForHttp } from './runner/httpSide.ts'
import { createIntake } from './runner/intake.ts'
import { join } from './runner/membership.ts'
import type { Membership } from './runner/membership.ts'
import { takeBackLost } from './runner/lost.ts'
import { createMissing } from './runner/missing.ts'
import { setUp } from './runner/options.ts'
import type { RunnerOptions } from './runner/options.ts'
import { createPersist } from './runner/persist.ts'
import { createOutlook } from './runner/outlook.ts'
import { startPulse } from './runner/pulse.ts'
import { createQuietly } from './runner/quietly.ts'
import { retryRefused } from './runner/refused.ts'
import type { Refused } from './runner/refused.ts'
import { registerAll } from './runner/registration.ts'
import { createSending } from './runner/sending.ts'
import { findWay, openAddresses } from './runner/way.ts'
import type { Addresses } from './runner/way.ts'
import { startWork } from './runner/work.ts'
import type { Work } from './runner/work.ts'

export type { Runner } from './runner/api.ts'
export type { Part, RunnerOptions } from './runner/options.ts'

/** After a drain that used up its time: for connections to close and the instance to say that it stopped, in milliseconds. */
const CLOSE_LEAST_MS = 2_000
const CLOSE_MOST_MS = 10_000

/** Makes an instance of a config; nothing runs before `start()`. Throws ConfigInvalid or SettingsInvalid. */
export function createRunner(userConfig: TidemarkConfig, options: RunnerOptions = {}): Runner {
  const decided = setUp(userConfig, options)
  const { settings, parts, config, identity, log, counting } = decided
  const { meter } = counting
  const startedAt = performance.now()
  const ending = new AbortController()
  let addresses: Addresses | undefined
  let pools: Pools | undefined
  let membership: Membership | undefined
  let pulse: Loop | undefined
  let work: Work | undefined
  let http: Listening | undefined
  let unprepare: (() => Promise<void>) | undefined
  let refused: Refused | undefined
  let starting: Promise<void> | undefined
  let stopping: Promise<void> | undefined
  let closing: Promise<void> | undefined

  const cleanUps = [...config.onShutdown]
  const wakeAll = (): void => {
    work?.leaders.wake()
    work?.pauses.wake()
    for (const { poller } of work?.pollers ?? []) poller.wake()
    for (const processor of work?.processors ?? []) processor.wake()
    work?.jobs.wake()
  }
  const condition = createCondition(log, wakeAll)
  const quietly = createQuietly(log)
  const missing = createMissing({
    log,
    onGone() {
      condition.schemaFits = false
      work?.leaders.stepBack()
    },
    async onBack() {
      await work?.enterLost()
      condition.schemaFits = true
      wakeAll()
    },
  })
  const denied = createDenied(log, SCHEMAS)
  const { port, probe, ...outlook } = createOutlook({
    config,
    settings,
    condition,
    counting,
    pools: () => pools,
    work: () => work,
    refused: () => refused,
  })

  async function begin(): Promise<void> {
    const { signal } = ending
    http = await listenForHttp({
      settings,
      parts,
      port,
      probe,
      intake: createIntake({
        config,
        settings,
        log,
        meter,
        readiness: () => condition.readiness(),
        pool: () => pools?.work,
        work: () => work,
      }),
      metrics: outlook.metrics,
      config,
      ending: signal,
      nextFreePort: options.nextFreePort === true,
      log,
    })
    signal.throwIfAborted()
    addresses = await openAddresses(settings, log)
    signal.throwIfAborted()
    const way = await findWay(settings, addresses, log, signal)
    const { session } = way
    const opened = openPools(settings, way, identity, transactionalHandlers(config.processors), {
      asked: () => probe.asked(),
      failed(own, error) {
        missing.failed(own.reserved, error)
        denied.failed(own.reserved, error)
        meter.databaseFailed(error)
      },
      broke: (error) => meter.databaseFailed(error),
    })
    pools = opened
    const applicationName = `tidemark:${identity.instanceId}`
    pulse = startPulse({ probe, pools: opened, condition, applicationName, log })
    const persist = createPersist({ log, signal, lookout: opened.pulse, applicationName })
    await schemaReady({
      settings,
      session,
      pool: opened.reserved,
      log,
      signal,
      persist,
      onIncompatible: () => void (condition.schemaFits = false),
      whole: () => missing.look(opened.reserved),
    })
    condition.schemaFits = true
    signal.throwIfAborted()
    unprepare = await options.prepare?.(opened.work)
    const joined = (membership = join({
      ...decided,
      session,
      pools: opened,
      tasks: [...config.pollers, ...config.processors, ...config.jobs].map(({ name }) => name),
      now: () => ({ state: condition.state, circuits: work?.deliveries.broken ?? [] }),
      onPaused: (paused, askedAt) => work?.pauses.told(paused, askedAt),
      onTakenBack: wakeAll,
    }))
    await persist('to announce itself', () => joined.announce())
    const takeBack = () => takeBackLost(opened.work, identity.instanceId, log)
    await persist('to take back what the lost had', takeBack)
    const registered = await registerAll(opened.work, config, settings.release, log, persist)
    signal.throwIfAborted()
    const wiring = {
      ...decided,
      pools: opened,
      session,
      registered,
      mayLead: () => work !== undefined && condition.schemaFits && !signal.aborted,
      onDemand: (poller: string) => refused?.demand(poller),
      onQueueError: () => denied.suspect(opened.reserved),
    }
    work = await persist('to start the queue', () => startWork(wiring))
    refused = retryRefused({
      pool: opened.work,
      refused: registered.refused,
      release: settings.release,
      log,
      onStarted: (poller) => (signal.aborted ? undefined : work?.addPoller(poller)),
    })
    // Told to stop while the parts started: they are drained, and were never ready.
    if (signal.aborted) return
    condition.state = 'ready'
    work.leaders.wake()
    await joined.announce().catch(() => undefined) // the next heartbeat says so, too
    sayReady()
  }

  function sayReady(): void {
    if (ending.signal.aborted) return
    const address = http?.address ?? ''
    const sinceStartMs = Math.round(performance.now() - startedAt)
    const msg = `ready at ${address} after ${sinceStartMs} ms`
    log.event('ready', msg, { address, since_start_ms: sinceStartMs })
  }

  /** Whoever says so is not watched any more: with something still in work, others must see us gone to take it back. */
  async function sayStopped(): Promise<void> {
    if (work?.processors.some((processor) => processor.state.inWork > 0) === true) return
    condition.state = 'stopped'
    if (pools !== undefined && !condition.databaseAway) await membership?.announce()
  }

  /** Asked for by a start that failed and by a stop; done once. */
  function close(limitMs: number): Promise<void> {
    return (closing ??= closeAll(limitMs))
  }

  /** Everything behind the work, in the order opposite to its start. */
  async function closeAll(limitMs: number): Promise<void> {
    const ended = work
    outlook.stop()
    if (ended !== undefined) await quietly(() => stopWork(ended))
    await quietly(() =>
      Promise.all([membership?.stop(), pulse?.stop(), missing.stop(), denied.stop(), refused?.stop()]),
    )
    await quietly(sayStopped)
    await quietly(() => membership?.leave())
    await quietly(() => http?.close(limitMs))
    const opened = pools
    pools = undefined
    await quietly(() => Promise.all([opened?.work.end(), opened?.reserved.end(), opened?.pulse.end()]))
    await quietly(() => addresses?.embedded?.leave())
    if (options.log === undefined) await log.close()
  }

  async function end(reason: string): Promise<void> {
    condition.state = 'draining'
    ending.abort(new Error(`stopped by ${reason} before it was ready`))
    const startedAt = performance.now()
    if (starting !== undefined) await within(settings.shutdownTimeoutMs, starting)
    await within(
      settings.shutdownTimeoutMs,
      quietly(() => leave(reason)),
    )
    for (const processor of work?.processors ?? []) processor.abort()
    const leftMs = Math.max(
      CLOSE_LEAST_MS,
      Math.min(CLOSE_MOST_MS, settings.shutdownTimeoutMs - (performance.now() - startedAt)),
    )
    await within(leftMs, close(leftMs))
    // Whatever hung above: its last user stops the embedded server.
    await within(
      CLOSE_LEAST_MS,
      quietly(() => addresses?.embedded?.leave()),
    )
  }

  async function leave(reason: string): Promise<void> {
    const announced = membership?.announce().catch(() => undefined)
    await unprepare?.()
    const { drainTimeoutMs } = settings
    if (work === undefined) await runCleanUps(cleanUps, log)
    else await drain(work, { signal: reason, announced, drainTimeoutMs, cleanUps, log })
  }

  return {
    start() {
      // What has started must not live on when the rest cannot.
      starting ??= begin().catch(async (error: unknown) => {
        await close(CLOSE_LEAST_MS)
        throw error
      })
      return starting
    },
    stop(reason = 'stop()') {
      stopping ??= end(reason)
      return stopping
    },
    async abort() {
      condition.state = 'draining'
      ending.abort(new Error('aborted'))
      if (work !== undefined && pools !== undefined) await giveBackAtOnce(work)
      await sayStopped()
      await addresses?.embedded?.leave()
    },
    status: () => port.status(),
    ...createSending(() => (closing === undefined ? work : undefined)),
    onShutdown: (cleanUp) => void cleanUps.push(cleanUp),
    get address() {
      return http?.address
    },
  }
}
