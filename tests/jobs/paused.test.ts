import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { TestClock } from 'pg-boss'
import type { ResolvedJob } from '../../src/config/resolved.ts'
import type { Boss } from '../../src/jobs/boss.ts'
import { jobQueue } from '../../src/jobs/queues.ts'
import type { Jobs } from '../../src/jobs/userJobs.ts'
import { skipAsRunner } from '../support/programWay.ts'
import { until } from '../support/until.ts'
import { createBosses, jobsOf } from './bosses.ts'
import { jobOf, startJobs } from './jobs.ts'

/* A paused job: no run of it starts on any instance, and one makes up for all ticks of the pause. */

const QUEUE = jobQueue('digest')

function digest(handle: ResolvedJob['handle']): ResolvedJob {
  return jobOf(handle, { name: 'digest', schedule: '* * * * *', tz: 'Europe/Berlin' })
}

async function instances(t: TestContext, count: number, handle: ResolvedJob['handle'], clock?: TestClock) {
  const bosses = await createBosses(t)
  let paused = true
  const all: { readonly boss: Boss; readonly jobs: Jobs }[] = []
  for (let i = 0; i < count; i += 1) {
    const boss = await bosses.boss(clock === undefined ? {} : { clock })
    const jobs = await startJobs(bosses, boss, [digest(handle)], { held: () => paused })
    t.after(() => jobs.stop(0))
    all.push({ boss, jobs })
  }
  const set = (value: boolean): void => {
    paused = value
    for (const { jobs } of all) jobs.wake()
  }
  return {
    bosses,
    all,
    set,
    /** Paused, and no instance has heard of it in time to stop fetching. */
    pauseUnheard: () => (paused = true),
    states: async () => (await jobsOf(bosses.pool, QUEUE)).map(({ state }) => state),
  }
}

const withoutClock = skipAsRunner('pg-boss’s clock of tests makes functions in its schema')

test(
  'no tick of a pause runs, and one run makes up for all of them at the resume',
  { skip: withoutClock },
  async (t) => {
    const clock = new TestClock(new Date('2026-11-22T10:00:30Z'))
    let runs = 0
    const ran = (): number => runs
    const { all, set, states } = await instances(t, 2, () => void (runs += 1), clock)
    const minutes = async (count: number): Promise<void> => {
      for (let i = 0; i < count * 12; i += 1) await clock.tick(5_000)
    }
    await minutes(5)
    assert.deepEqual([ran(), await states()], [0, ['created']])
    // It is no trouble that nobody works its queue.
    for (const { boss } of all) assert.equal(boss.health().status, 'ok')
    set(false)
    await until('the one run', async () => {
      await clock.tick(1_000)
      return (await states()).join() === 'completed'
    })
    assert.equal(ran(), 1)
    await minutes(3)
    assert.ok(ran() >= 3 && ran() <= 5, `${ran()} runs, three minutes after the resume`)
  },
)

test('a run under way goes on through a pause, and a drain gives it back all the same', async (t) => {
  const started = Promise.withResolvers<undefined>()
  const end = Promise.withResolvers<undefined>()
  const { all, set, states } = await instances(t, 1, async () => {
    started.resolve(undefined)
    await end.promise
  })
  const [one] = all
  assert.ok(one)
  const { boss, jobs } = one
  set(false)
  await boss.pg.send(QUEUE)
  await started.promise
  set(true)
  await until('the worker to rest', () => boss.pg.getWipData().some(({ state }) => state === 'stopping'))
  assert.deepEqual([jobs.running(), boss.health().status, await states()], [['digest'], 'ok', ['active']])
  assert.deepEqual(await jobs.stop(100), { givenBack: 1 })
  assert.deepEqual(await states(), ['created'])
  end.resolve(undefined)
})

test('a job that was fetched just before the pause does not begin, and is given back unburned', async (t) => {
  let runs = 0
  const { bosses, all, set, pauseUnheard, states } = await instances(t, 1, () => void (runs += 1))
  const [one] = all
  assert.ok(one)
  set(false)
  await until('the worker to look', () => one.boss.pg.getWipData().some(({ state }) => state === 'active'))
  pauseUnheard()
  await one.boss.pg.send(QUEUE)
  one.boss.pg.getWipData().forEach(({ id }) => one.boss.pg.notifyWorker(id))
  await until('it to be given back', async () => {
    const [job] = await jobsOf(bosses.pool, QUEUE)
    return runs > 0 || (job?.state === 'created' && job.retry_limit > 2)
  })
  assert.equal(runs, 0)
  set(false)
  await until('its run', async () => (await states()).join() === 'completed')
})
