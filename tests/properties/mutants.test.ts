import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { TestContext } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { hunt } from './hunt.ts'
import { isViolation } from './invariants.ts'
import { NAMED_MUTANTS, RANDOM_MUTANTS } from './mutants.ts'
import type { Mutant } from './mutants.ts'
import { Stage } from './named.ts'
import * as schedules from './namedSchedules.ts'
import { openSessions } from './schedule.ts'
import { World } from './world.ts'

/** Most fall to their own seed. After a change of the schedules they may need some tens. */
const SEEDS = 100

/**
 * A schedule makes just as many passes as its fault needs. Another database of the server that commits a prepared
 * transaction may hold the edge during one of them, and nothing is lost: then it is played again.
 */
const PLAYS = 3

async function createWorld(t: TestContext): Promise<World> {
  const world = await World.create((await createDatabase(t)).url)
  t.after(() => world.close())
  return world
}

describe('random schedules catch the mutant', () => {
  for (const [name, mutant] of Object.entries<Mutant>(RANDOM_MUTANTS)) {
    test(`${name}: ${mutant.why}`, async (t) => {
      const world = await createWorld(t)
      const caught = await hunt(world, await openSessions(world), mutant, SEEDS)
      assert.ok(caught, `${name} survived ${SEEDS} seeds`)
      t.diagnostic(`caught by seed ${caught.seed}: ${caught.violation}`)
    })
  }
})

describe('a schedule of its own catches the mutant', () => {
  const pairs: readonly [string, Mutant, schedules.NamedSchedule][] = [
    ['pass_not_compared', NAMED_MUTANTS.pass_not_compared, schedules.pageWaitedThroughBegin],
    ['pass_not_raised', NAMED_MUTANTS.pass_not_raised, schedules.pageWaitedThroughBegin],
    ['no_clock_guard', NAMED_MUTANTS.no_clock_guard, schedules.clockSteppedBack],
    ['step_forgotten_at_once', NAMED_MUTANTS.step_forgotten_at_once, schedules.longTransactionAfterStep],
    ['unfinished_pass_trusted', NAMED_MUTANTS.unfinished_pass_trusted, schedules.unreadByItself],
    [
      'candidate_from_before_the_step',
      NAMED_MUTANTS.candidate_from_before_the_step,
      schedules.preparedAfterHiddenStep,
    ],
    [
      'candidate_of_a_former_leader',
      NAMED_MUTANTS.candidate_of_a_former_leader,
      schedules.preparedAfterStepBeforeALead,
    ],
    ['sunk_candidate_not_kept', NAMED_MUTANTS.sunk_candidate_not_kept, schedules.openThroughAStep],
    ['no_floor (two transactions in one message)', RANDOM_MUTANTS.no_floor, schedules.twoInOneMessage],
    ['no_floor (COMMIT AND CHAIN)', RANDOM_MUTANTS.no_floor, schedules.chainAfterSlowCommit],
    ['floor_of_proof_alone', RANDOM_MUTANTS.floor_of_proof_alone, schedules.secondOfOneMessageIsPrepared],
    ['prepared_ignored', RANDOM_MUTANTS.prepared_ignored, schedules.sessionEndedAfterPrepare],
  ]
  for (const [name, mutant, schedule] of pairs) {
    test(`${name}: ${mutant.why}`, async (t) => {
      let shown: unknown
      for (let played = 0; shown === undefined && played < PLAYS; played += 1) {
        const stage = await Stage.set(await createWorld(t), mutant)
        shown = await schedule(stage).catch((error: unknown) => error)
      }
      assert.ok(isViolation('unsafe')(shown), shown instanceof Error ? shown : `${name} survived`)
    })
  }
})
