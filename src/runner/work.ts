/**
 * The parts that do the work of one instance, wired to each other: pollers, processors, jobs, upkeep, leadership and
 * presence. Built when the schema is ready, started forward, taken down by drain.ts.
 */
import type { Identity } from '../config/identity.ts'
import type { ResolvedConfig, ResolvedJob } from '../config/resolved.ts'
import type { Settings } from '../config/settings.ts'
import type { SessionAddress } from '../db/connection.ts'
import type { Listener } from '../db/listen.ts'
import { createPoller } from '../ingest/poller.ts'
import type { Poller } from '../ingest/poller.ts'
import { requireSameSource, sourceChange } from '../ingest/sameSource.ts'
import type { PreparedSource } from '../ingest/sourceSql.ts'
import { watchPressure } from '../db/pressure.ts'
import type { Pressure } from '../db/pressure.ts'
import { mayMaintain } from '../jobs/jobRows.ts'
import { createJobTick } from '../jobs/jobTick.ts'
import { cronRhythm, everyRhythm } from '../jobs/rhythm.ts'
import { createLoopTick, JOB_TICK_FROM_MS } from '../jobs/ticks.ts'
import { createUpkeep } from '../jobs/upkeep.ts'
import type { Upkeep } from '../jobs/upkeep.ts'
import { startLeadership } from '../leader/leadership.ts'
import type { Leaders } from '../leader/leadership.ts'
import type { LedTask } from '../leader/lease.ts'
import { IDLE_MS } from '../process/claims.ts'
import { createProcessor } from '../process/processor.ts'
import type { Processor } from '../process/processor.ts'
import { Quarantine } from '../process/quarantine.ts'
import { findTask } from '../tables/task.ts'
import type { Log } from '../telemetry/log.ts'
import type { Counting } from './counting.ts'
import { announcer } from './announcer.ts'
import { fitConcurrency } from './concurrency.ts'
import { obeyPauses } from './control.ts'
import { createDeliveries } from './deliveries.ts'
import type { Deliveries } from './deliveries.ts'
import { commonDuties, pollerDuties, lookAgain } from './duties.ts'
import type { Pools } from './foundation.ts'
import { hear } from './hear.ts'
import { startHistory } from './history.ts'
import type { History } from './history.ts'
import { intakeDuty } from './intake.ts'
import { startPauses } from './pauses.ts'
import type { Pauses } from './pauses.ts'
import { createJobSide } from './jobSide.ts'
import type { JobSide } from './jobSide.ts'
import { enterLost } from './registration.ts'
import type { Registered, RegisteredPoller } from './registration.ts'
import { wakeful } from './wakeful.ts'
import type { WakefulTick } from './wakeful.ts'

/** Rows whose time lies this far behind their commit are still found; DESIGN's slack for clocks and rounding. */
const SLACK_MS = 5_000

/** Attempts of a message whose source has no processor in this instance's config. */
const DEFAULT_ATTEMPTS = 10

/** Between two looks of a processor that has nothing open and would be told of more: a notification can be lost. */
const QUIET_MS = 12_000

export interface WorkOptions {
  readonly settings: Settings
  readonly config: ResolvedConfig
  readonly allJobs: readonly ResolvedJob[]
  readonly identity: Identity
  readonly pools: Pools
  /** For LISTEN; without one everything is looked for by the clock. */
  readonly session: SessionAddress | undefined
  readonly registered: Registered
  readonly log: Log
  readonly counting: Counting
  readonly mayLead: () => boolean
  /** A pass was asked for of a poller that does not run here. */
  readonly onDemand: (poller: string) => void
  /** pg-boss met an error on connections of its own. */
  readonly onQueueError: () => void
}

interface RunningPoller {
  readonly poller: Poller
  readonly everyMs: number
  /** How far behind its commit a row's time may lie. */
  readonly slackMs: number
  readonly source: PreparedSource
}

export interface Work extends Pick<JobSide, 'boss' | 'jobs' | 'send' | 'redrive'> {
  readonly leaders: Leaders
  readonly pollers: readonly RunningPoller[]
  readonly processors: readonly Processor[]
  readonly upkeep: Upkeep
  readonly ticks: readonly WakefulTick[]
  readonly listener: Listener | undefined
  /** Takes in a poller whose source could not be read before. */
  addPoller(registered: RegisteredPoller): void
  /** Enters those of its tasks again that `background_task` has lost. */
  enterLost(): Promise<void>
  readonly pressure: Pressure
  /** Messages of this source came in: its processors are woken, here and elsewhere. */
  announce(source: string): void
  readonly pauses: Pauses
  readonly deliveries: Deliveries
  readonly history: History
}

/** Leaves nothing behind when it fails, and may be called again then. */
export async function startWork(options: WorkOptions): Promise<Work> {
  const { settings, identity, pools, session, registered, log } = options
  const { meter } = options.counting
  const tasks = [...options.config.pollers, ...options.config.processors, ...options.config.jobs]
  const maintains = await mayMaintain(pools.work)
  const pauses = await startPauses({
    db: pools.reserved,
    instanceId: identity.instanceId,
    tasks: tasks.map(({ name }) => name),
    log,
  })
  const side = createJobSide({
    boss: {
      pool: pools.work,
      session,
      log,
      instanceId: identity.instanceId,
      maintains,
      onError: options.onQueueError,
    },
    jobs: registered.jobs,
    allJobs: options.allJobs,
    held: (job) => pauses.isPaused(job),
    log,
  })
  const { boss, jobs, send, redrive } = side
  const duties = commonDuties(pools.work, identity.instanceId, options.allJobs, log)
  const upkeep = createUpkeep({ boss, log, duties })
  try {
    await side.start()
    await upkeep.start()
  } catch (error) {
    await Promise.all([pauses.stop(), boss.stop()])
    throw error
  }
  for (const { name } of registered.jobs) log.event('task_started', `${name} started`, { task: name })

  let isHeard = false
  const pressure = watchPressure(pools.work, log)
  const quarantine = new Quarantine()
  // From here on nothing can fail: what is begun is begun whole.
  const deliveries = createDeliveries(log, { onOutcome: (outcome) => meter.delivered(outcome) })
  const processors = fitConcurrency(registered.processors, pools.work.max, log).map((processor) =>
    deliveries.make(processor, (way) =>
      createProcessor({
        pool: pools.work,
        instanceId: identity.instanceId,
        pressure,
        quarantine,
        send,
        quietMs: () => (isHeard ? QUIET_MS : IDLE_MS),
        log,
        meter,
        ...way,
        paused: () => pauses.isPaused(processor.name),
      }),
    ),
  )
  for (const { name, exclusive } of processors)
    if (!exclusive) log.event('task_started', `${name} started`, { task: name })

  const wakeFor = (source: string): boolean => {
    const takers = processors.filter(({ sources }) => sources.includes(source))
    for (const processor of takers) processor.wake()
    return takers.some(({ state }) => state.claiming)
  }
  const announce = announcer(pools.work, wakeFor)

  const ticks = new Map<string, WakefulTick>()
  const running: RegisteredPoller[] = []
  const makePoller = (one: RegisteredPoller): RunningPoller => {
    running.push(one)
    const { poller, source, latenessMs } = one
    const { name, everyMs } = poller
    const rhythm = poller.cron === null ? everyRhythm(everyMs) : cronRhythm(poller.cron)
    const isJob = poller.cron !== null || everyMs >= JOB_TICK_FROM_MS
    const tick = wakeful({
      poller: name,
      tick: isJob ? createJobTick({ boss, poller: name, rhythm }) : createLoopTick({ everyMs }),
      db: pools.reserved,
      session,
      applicationName: `tidemark:${identity.instanceId}`,
      connectTimeoutMs: settings.connectTimeoutMs,
    })
    ticks.set(name, tick)
    const processor = registered.processors.find(({ from }) => from.includes(name))
    const maxAttempts = processor?.maxAttempts ?? DEFAULT_ATTEMPTS
    const onInserted = (): void => announce(name)
    const slackMs = SLACK_MS + latenessMs
    for (const duty of pollerDuties({ pool: pools.work, log, registered: one, maxAttempts, onInserted }))
      upkeep.add(duty)
    return {
      everyMs,
      slackMs,
      source,
      poller: createPoller({
        db: pools.work,
        name,
        source,
        tick,
        held: () => pauses.reason(name),
        slackMs,
        everyMs,
        pageSize: poller.pageSize,
        maxAttempts,
        instanceId: identity.instanceId,
        log,
        onInserted(rows, late) {
          meter.polled(name, rows, late)
          onInserted()
        },
        onRun: (outcome) => meter.passed(name, outcome),
        onDoubt: (reason) => lookAgain({ pool: pools.work, upkeep, log, poller: name, reason }),
      }),
    }
  }
  const pollers = registered.pollers.map(makePoller)
  for (const intake of options.config.intakes) upkeep.add(intakeDuty(pools.work, log, intake))

  // Not by the work pool: nothing is led here until it is done, however busy the handlers are.
  const enterAgain = (): Promise<void> =>
    enterLost(pools.reserved, { ...registered, pollers: running }, settings.release)
  /** A lease without a pass ends with an error; the election after it is to find the poller's row. */
  const ledPoller = ({ poller, source }: RunningPoller): LedTask => ({
    name: poller.name,
    unfit: (known) => sourceChange(poller.name, known, source)?.message,
    async lead(lease) {
      if (lease.pass === null) await enterAgain()
      // The look before the election may be older than a reset.
      requireSameSource(poller.name, await findTask(pools.reserved, poller.name), source)
      await poller.lead(lease)
    },
  })
  const led: LedTask[] = [
    ...pollers.map(ledPoller),
    ...processors.filter(({ exclusive }) => exclusive).map(({ name, lead }) => ({ name, lead })),
  ]
  const leaders = startLeadership({
    db: pools.reserved,
    me: identity,
    tasks: led,
    heartbeatMs: settings.heartbeatMs,
    leaseMs: settings.leaseMs,
    mayLead: options.mayLead,
    log,
  })

  const listener =
    session === undefined
      ? undefined
      : hear(session, `tidemark:${identity.instanceId}`, log, {
          leaders,
          pauses,
          processors,
          ticks,
          onInserted: wakeFor,
          onDemand: options.onDemand,
          onHeard: (is) => void (isHeard = is),
        })

  obeyPauses(pauses, { jobs, processors, pollers, ticks })
  for (const processor of processors) if (!processor.exclusive) processor.start()
  return {
    boss,
    leaders,
    pollers,
    processors,
    jobs,
    send,
    redrive,
    upkeep,
    get ticks() {
      return [...ticks.values()]
    },
    listener,
    pauses,
    pressure,
    deliveries,
    history: startHistory({
      db: pools.work,
      instanceId: identity.instanceId,
      tallies: options.counting.tallies,
      log,
    }),
    addPoller(one) {
      const made = makePoller(one)
      pollers.push(made)
      leaders.add(ledPoller(made))
    },
    enterLost: enterAgain,
    announce,
  }
}
