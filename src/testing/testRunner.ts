/**
 * A runner whose steps a test makes by hand.
 *
 * It is put together from the parts that createRunner has (registration, poller, processor, deliveries, jobs, duties of upkeep), on
 * one pool and a real database; what it leaves out is everything that acts by itself: loops, leases that run out, heartbeats,
 * LISTEN, pg-boss's workers, HTTP. Between two steps nothing runs, so what a test sees after one is what it came to.
 */
import { randomUUID } from 'node:crypto'
import { createIdentity } from '../config/identity.ts'
import type { ResolvedConfig } from '../config/resolved.ts'
import type { SendOptions, TidemarkConfig } from '../config/types.ts'
import { resolveConfig } from '../config/validate.ts'
import { createPool } from '../db/pool.ts'
import { watchPressure } from '../db/pressure.ts'
import { TestStepImpossible } from '../errors.ts'
import { createJobSteps } from '../jobs/stepJob.ts'
import { transactionalHandlers } from '../runner/concurrency.ts'
import { createDeliveries } from '../runner/deliveries.ts'
import { WORK_LEAST, WORK_MARGIN } from '../runner/foundation.ts'
import { registerAll } from '../runner/registration.ts'
import type { Registered } from '../runner/registration.ts'
import { takeMessages } from '../tables/intake.ts'
import { newTraceId } from '../telemetry/trace.ts'
import { createTestClock } from './clock.ts'
import type { TestClock } from './clock.ts'
import { createJobStep } from './jobStep.ts'
import { readInbox } from './outcome.ts'
import type { InboxMessage, JobOutcome, Outcome } from './outcome.ts'
import { createPollStep } from './pollStep.ts'
import type { PollResult, PollStep } from './pollStep.ts'
import { createProcessStep } from './processStep.ts'
import type { ProcessStep } from './processStep.ts'
import { StepLog } from './stepLog.ts'
import type { TestEvent } from './stepLog.ts'
import { beforeClose } from './testDatabase.ts'
import { unknownTo } from './unknownTo.ts'
import { createUpkeepStep } from './upkeepStep.ts'

export interface TestRunnerOptions {
  /**
   * The database to run on: one of `testDatabase()`, which closes the runner when it is closed, or anything with the address of a
   * database that has Tidemark's schema.
   */
  readonly database: { readonly url: string }
}

/** A message as a test gives it. */
export interface GivenMessage {
  /** What the handler gets; whatever JSON can say. */
  readonly payload: unknown
  /** Default: a fresh uuid. One that is known is a duplicate, and changes nothing. */
  readonly messageId?: string
  /** Default: none. */
  readonly groupKey?: string
  /** Default: a fresh one. */
  readonly traceId?: string
}

export interface TestRunner {
  /** Makes one pass of a poller over its source. @throws {TestStepImpossible} when it does not start or the pass fails, with the reason */
  poll(poller: string): Promise<PollResult>
  /**
   * Claims one message that is due and runs its handler, up to its outcome in the database; undefined: nothing is due, or the processor
   * is paused, or its target's circuit is open.
   */
  processOne(processor: string): Promise<Outcome | undefined>
  /**
   * Claims and runs until nothing is due any more, `concurrency` at once (a batch processor: whole batches). What fails is due again
   * only after its wait: turn the clock and call it again. One outcome for each attempt, in order.
   */
  processAll(processor: string): Promise<Outcome[]>
  /**
   * Puts messages into the inbox without a source row, as POST /inbox/NAME does; also under a poller's name. Their
   * `sourceCreatedAt` is null.
   */
  receive(
    source: string,
    messages: GivenMessage | readonly GivenMessage[],
  ): Promise<{
    readonly accepted: number
    readonly duplicates: number
    readonly messageIds: readonly string[]
  }>
  /** Sends a job of the config, as `send()` of a runner; resolves to its id, or null when its singleton key is taken. */
  send(job: string, data?: unknown, options?: SendOptions): Promise<string | null>
  /** Sends a job now and runs it, and whatever of that name was due before it. @throws {TestStepImpossible} when one is there that is not due */
  runJob(job: string, data?: unknown): Promise<JobOutcome>
  /** Runs every job of this name that is due: sent by handlers, due for a retry, started after a time that has come. */
  runJobs(job: string): Promise<JobOutcome[]>
  /** Sweeps a poller's source once, to its end. @throws {TestStepImpossible} before its first pass, or while it is paused */
  sweep(poller: string): Promise<{ readonly found: number }>
  /** Retention's turn for a poller or an intake: forgets what is finished long enough. */
  forget(source: string): Promise<{ readonly forgotten: number }>
  /** The inbox as it stands, or what of it came by one source. */
  inbox(source?: string): Promise<InboxMessage[]>
  /** What became of every attempt that this runner made, in order. */
  outcomes(): readonly Outcome[]
  /** What was logged, `handler_log` for what handlers log, in order. */
  events(): readonly TestEvent[]
  /** Lets time pass. */
  readonly clock: TestClock
  /** Gives up its leases and closes its connections; nothing runs on. May be called again. */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

const DEFAULT_ATTEMPTS = 10
const RELEASE = 'test'
const LIMITS = { statementTimeoutMs: 30_000, lockTimeoutMs: 5_000, idleInTransactionMs: 10_000 }
const CONNECT_LIMIT_MS = 30_000

/**
 * Makes a runner of a config for a test. Nothing happens before its first step, which also checks the sources.
 * @throws {ConfigInvalid}, with every fault at once
 */
export function testRunner(userConfig: TidemarkConfig, { database }: TestRunnerOptions): TestRunner {
  const config: ResolvedConfig = resolveConfig(userConfig)
  const identity = createIdentity({ machineId: 'test' })
  const { instanceId } = identity
  const log = new StepLog()
  const pool = createPool({
    url: database.url,
    applicationName: `tidemark:${instanceId}`,
    connectTimeoutMs: CONNECT_LIMIT_MS,
    limits: LIMITS,
    max: Math.max(WORK_LEAST, transactionalHandlers(config.processors) + WORK_MARGIN),
  })
  const pressure = watchPressure(pool, log)
  const clock = createTestClock(pool, config.pollers)
  const deliveries = createDeliveries(log, { circuit: { now: () => performance.now() + clock.advancedMs } })
  const steps = createJobSteps({ pool, jobs: config.jobs, instanceId, log })
  const jobs = createJobStep(pool, config.jobs, steps)
  const outcomes: Outcome[] = []
  const polls = new Map<string, PollStep>()
  const processes = new Map<string, ProcessStep>()
  let starting: Promise<Registered> | undefined
  let closing: Promise<void> | undefined

  /** Once, before the first step. */
  function start(): Promise<Registered> {
    starting ??= registerAll(pool, config, RELEASE, log).then(async (registered) => {
      await steps.start()
      return registered
    })
    return starting
  }

  async function pollStep(name: string): Promise<PollStep> {
    const { pollers, refused } = await start()
    const known = polls.get(name)
    if (known !== undefined) return known
    const reason = refused.find(({ poller }) => poller.name === name)?.reason
    if (reason !== undefined) throw new TestStepImpossible(`${name} does not start: ${reason}`)
    const registered = pollers.find(({ poller }) => poller.name === name)
    if (registered === undefined) throw unknownTo('poller', name, config.pollers)
    const processor = config.processors.find(({ from }) => from.includes(name))
    const step = createPollStep({ pool, identity, registered, processor, log })
    polls.set(name, step)
    return step
  }

  async function processStep(name: string): Promise<ProcessStep> {
    await start()
    const processor = config.processors.find((one) => one.name === name)
    if (processor === undefined) throw unknownTo('processor', name, config.processors)
    const options = { pool, instanceId, processor, deliveries, pressure, send: steps.send, log }
    const step = processes.get(name) ?? createProcessStep(options)
    processes.set(name, step)
    return step
  }

  async function run(step: ProcessStep, most: number): Promise<Outcome[]> {
    const made = await step.run(most)
    outcomes.push(...made)
    return made
  }

  const upkeep = createUpkeepStep({ pool, config, log, registered: start })
  const close = (): Promise<void> => (closing ??= closeAll())
  const forget = beforeClose(database, close)

  async function closeAll(): Promise<void> {
    forget()
    await starting?.catch(() => undefined)
    await Promise.all([...polls.values()].map((step) => step.close()))
    await steps.close()
    pressure.stop()
    await pool.end()
  }

  return {
    clock,
    poll: async (name) => (await pollStep(name)).poll(),
    async processOne(name) {
      const [outcome] = await run(await processStep(name), 1)
      return outcome
    },
    async processAll(name) {
      const step = await processStep(name)
      const { concurrency, work } = step.processor
      const most = work.kind === 'batch' ? work.batchSize : concurrency
      const made: Outcome[] = []
      for (;;) {
        const some = await run(step, most)
        if (some.length === 0) return made
        made.push(...some)
      }
    },
    async receive(source, given) {
      await start()
      const known = [...config.pollers, ...config.intakes]
      if (!known.some(({ name }) => name === source)) throw unknownTo('source', source, known)
      const maxAttempts =
        config.processors.find(({ from }) => from.includes(source))?.maxAttempts ?? DEFAULT_ATTEMPTS
      const messages = isList(given) ? given : [given]
      const rows = messages.map(({ payload, messageId, groupKey, traceId }) => ({
        source,
        messageId: messageId ?? randomUUID(),
        groupKey: groupKey ?? null,
        payload: JSON.stringify(payload ?? null),
        traceId: traceId ?? newTraceId(),
        traceparent: null,
        maxAttempts,
      }))
      const { length: accepted } = await takeMessages(pool, rows)
      const messageIds = rows.map(({ messageId }) => messageId)
      return { accepted, duplicates: rows.length - accepted, messageIds }
    },
    async send(job, data, options) {
      await start()
      return steps.send(job, data, options)
    },
    async runJob(job, data) {
      await start()
      return jobs.runJob(job, data)
    },
    async runJobs(job) {
      await start()
      return jobs.runJobs(job)
    },
    sweep: (poller) => upkeep.sweep(poller),
    forget: (source) => upkeep.forget(source),
    inbox: (source) => readInbox(pool, source === undefined ? undefined : [source]),
    outcomes: () => outcomes,
    events: () => log.events,
    close,
    [Symbol.asyncDispose]: close,
  }
}

function isList(given: GivenMessage | readonly GivenMessage[]): given is readonly GivenMessage[] {
  return Array.isArray(given)
}
