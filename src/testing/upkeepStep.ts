import type { ResolvedConfig } from '../config/resolved.ts'
import type { Pool } from '../db/pool.ts'
import { TestStepImpossible } from '../errors.ts'
import type { Duty } from '../jobs/upkeep.ts'
import { pollerDuties, sweepDuty } from '../runner/duties.ts'
import { intakeDuty } from '../runner/intake.ts'
import type { Registered } from '../runner/registration.ts'
import type { StepLog, TestEvent } from './stepLog.ts'
import { unknownTo } from './unknownTo.ts'

export interface UpkeepStep {
  sweep(poller: string): Promise<{ readonly found: number }>
  forget(source: string): Promise<{ readonly forgotten: number }>
}

const DEFAULT_ATTEMPTS = 10

/** The duties of upkeep, one run of one of them at a time. */
export function createUpkeepStep(options: {
  readonly pool: Pool
  readonly config: ResolvedConfig
  readonly log: StepLog
  readonly registered: () => Promise<Registered>
}): UpkeepStep {
  const { pool, config, log } = options
  let known: readonly Duty[] | undefined

  async function duties(): Promise<readonly Duty[]> {
    const { pollers } = await options.registered()
    known ??= [
      ...pollers.flatMap((registered) => {
        const processor = config.processors.find(({ from }) => from.includes(registered.poller.name))
        const maxAttempts = processor?.maxAttempts ?? DEFAULT_ATTEMPTS
        return pollerDuties({ pool, log, registered, maxAttempts, onInserted: () => undefined })
      }),
      ...config.intakes.map((intake) => intakeDuty(pool, log, intake)),
    ]
    return known
  }

  async function run(name: string, task: string): Promise<TestEvent[]> {
    const duty = (await duties()).find((one) => one.name === name)
    if (duty === undefined) throw unknownTo('source', task, [...config.pollers, ...config.intakes])
    const said: TestEvent[] = []
    await log.during(
      (line) => said.push(line),
      async () => {
        await duty.run(new AbortController().signal)
      },
    )
    return said
  }

  return {
    async sweep(poller) {
      const said = await run(sweepDuty(poller), poller)
      if (!said.some(({ event }) => event === 'sweep_completed'))
        throw new TestStepImpossible(`${poller} cannot be swept: it has made no pass yet, or it is paused`)
      return { found: sum(said, 'sweep_found', 'rows') }
    },
    async forget(source) {
      const said = await run(`retention.${source}`, source)
      return { forgotten: sum(said, 'messages_forgotten', 'messages') }
    },
  }
}

function sum(said: readonly TestEvent[], event: TestEvent['event'], field: string): number {
  return said
    .filter((line) => line.event === event)
    .reduce((total, { fields }) => total + Number(fields[field]), 0)
}
