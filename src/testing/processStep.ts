/**
 * One processor, whose claims a test asks for. Each step is a whole life of the processor of process/processor.ts: it starts, claims
 * what it is allowed to, runs the handlers, writes the outcomes and is drained. So nothing that a runner remembers between two claims
 * is older than the test's clock, and after a step nothing of it runs on.
 */
import { setTimeout as delay } from 'node:timers/promises'
import type { ResolvedProcessor } from '../config/resolved.ts'
import type { Pool } from '../db/pool.ts'
import type { Pressure } from '../db/pressure.ts'
import { TestStepImpossible } from '../errors.ts'
import { createProcessor } from '../process/processor.ts'
import type { Processor, ProcessorOptions } from '../process/processor.ts'
import { Quarantine } from '../process/quarantine.ts'
import type { Deliveries } from '../runner/deliveries.ts'
import { findPause } from '../tables/control.ts'
import { isDue, readInbox } from './outcome.ts'
import type { Outcome } from './outcome.ts'
import { watchThrown } from './thrown.ts'
import type { StepLog, TestEvent } from './stepLog.ts'

export interface ProcessStep {
  readonly processor: ResolvedProcessor
  /** Claims and runs up to so many messages at once; in order of their coming in. */
  run(most: number): Promise<Outcome[]>
}

const LOOK_MS = 1

/** A key's limit and order are looked up by several claims; after so long with nothing, what is due is held by them. */
const GATHER_MS = 250

export function createProcessStep(options: {
  readonly pool: Pool
  readonly instanceId: string
  readonly processor: ResolvedProcessor
  readonly deliveries: Deliveries
  readonly pressure: Pressure
  readonly send: NonNullable<ProcessorOptions['send']>
  readonly log: StepLog
}): ProcessStep {
  const { pool, instanceId, deliveries, pressure, send, log } = options
  const { processor, thrown } = watchThrown(options.processor)
  const { name, from } = processor
  const takesTurns = processor.ordered || processor.slots !== null
  let living: Processor | undefined
  // Once for all steps, with the connections to its target.
  const { way } = deliveries.make(processor, (way) => ({ name, way, wake: () => living?.wake() }))

  /** Whether it is allowed to claim, and something may be there. */
  async function mayClaim(): Promise<boolean> {
    if (way.halted?.() !== undefined || (await findPause(pool, name)).paused) return false
    return isDue(pool, from)
  }

  async function live(
    most: number,
    picked: ReadonlyMap<string, TestEvent>,
    failed: () => string | undefined,
  ): Promise<void> {
    const one: Processor = createProcessor({
      pool,
      instanceId,
      pressure,
      quarantine: new Quarantine(),
      send,
      log,
      ...way,
      room: () => (picked.size > 0 || one.state.inWork > 0 ? 0 : Math.min(most, way.room?.() ?? most)),
    })
    living = one
    try {
      one.start()
      await whenOver(one, picked, failed)
    } finally {
      await one.drain(0)
      await one.stop()
      living = undefined
    }
  }

  /** Something was claimed and has its outcome, or there is nothing to claim. */
  async function whenOver(
    one: Processor,
    picked: ReadonlyMap<string, TestEvent>,
    failed: () => string | undefined,
  ): Promise<void> {
    const begunAt = performance.now()
    let claimedAt: number | undefined
    for (;;) {
      await delay(LOOK_MS)
      const problem = failed()
      if (problem !== undefined) throw new TestStepImpossible(problem)
      const { inWork, lastClaimAt } = one.state
      if (inWork > 0) continue
      if (picked.size > 0) return
      if (lastClaimAt === undefined || lastClaimAt === claimedAt) continue
      claimedAt = lastClaimAt
      if (!takesTurns || performance.now() - begunAt > GATHER_MS) return
      one.wake()
    }
  }

  return {
    processor,
    async run(most) {
      if (!(await mayClaim())) return []
      thrown.clear()
      const picked = new Map<string, TestEvent>()
      let problem: string | undefined
      await log.during(
        (said) => {
          const { source, message_id: id, task } = said.fields
          if (said.event === 'message_picked') picked.set(JSON.stringify([source, id]), said)
          if (said.event === 'loop_failed' && task === name) problem = said.msg
        },
        () => live(most, picked, () => problem),
      )
      const ids = [...picked.values()].map(({ fields }) => String(fields['message_id']))
      const found = ids.length === 0 ? [] : await readInbox(pool, from, ids)
      return found
        .filter(({ source, messageId }) => picked.has(JSON.stringify([source, messageId])))
        .map((message) => ({ ...message, processor: name, ran: true, thrown: thrown.get(message.inboxId) }))
    },
  }
}
