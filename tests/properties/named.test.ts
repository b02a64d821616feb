import { describe, test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { Stage } from './named.ts'
import * as schedules from './namedSchedules.ts'
import { World } from './world.ts'

const played =
  (schedule: schedules.NamedSchedule) =>
  async (t: { after(fn: () => Promise<void>): void }): Promise<void> => {
    const world = await World.create((await createDatabase(t)).url)
    t.after(() => world.close())
    await schedule(await Stage.set(world))
  }

describe('no row is lost', () => {
  test('to two transactions in one simple-protocol message', played(schedules.twoInOneMessage))
  test('when the second of them is prepared', played(schedules.secondOfOneMessageIsPrepared))
  test('to COMMIT AND CHAIN with a slow commit', played(schedules.chainAfterSlowCommit))
  test(
    'when a session is killed while its transaction is prepared',
    played(schedules.sessionEndedAfterPrepare),
  )
  test('when the clock stepped back', played(schedules.clockSteppedBack))
  test('to a transaction that began after the step and is long', played(schedules.longTransactionAfterStep))
  test('to a pass after the step that proved it and did not read it', played(schedules.unreadByItself))
  test('to a former leader whose pass after the step did so', played(schedules.unreadByFormerLeader))
  test(
    'to one that is prepared by the time the clock has caught up',
    played(schedules.preparedAfterHiddenStep),
  )
  test('to one that is prepared after a step before a lead', played(schedules.preparedAfterStepBeforeALead))
  test(
    'to one that is prepared after a step that an open candidate outlives',
    played(schedules.openThroughAStep),
  )
  test('to a page that waited through a takeover', played(schedules.pageWaitedThroughTakeover))
  test('to a page that waited through the next begin', played(schedules.pageWaitedThroughBegin))
})

test('a prepared transaction of another database, which can never write here, does not hold the edge', async (t) => {
  const [here, elsewhere] = [await createDatabase(t), await createDatabase(t, { migrated: false })]
  const world = await World.create(here.url)
  t.after(() => world.close())
  const stage = await Stage.set(world)
  const other = await elsewhere.client()
  await other.query(`BEGIN; CREATE TABLE t (); PREPARE TRANSACTION '${elsewhere.name}'`)
  await world.admin.query(stage.insert())
  await stage.everythingIsTakenIn(await stage.lead())
})
