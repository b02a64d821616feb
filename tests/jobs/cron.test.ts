import assert from 'node:assert/strict'
import { test } from 'node:test'
import { TestClock } from 'pg-boss'
import type { ResolvedJob } from '../../src/config/resolved.ts'
import { jobQueue } from '../../src/jobs/queues.ts'
import { forgetRemovedJobs } from '../../src/jobs/userJobs.ts'
import { skipAsRunner } from '../support/programWay.ts'
import { until } from '../support/until.ts'
import { createBosses, jobsOf } from './bosses.ts'
import { startJobs } from './jobs.ts'

const QUEUE = jobQueue('digest')

function digest(handle: ResolvedJob['handle'], more: Partial<ResolvedJob> = {}): ResolvedJob {
  return {
    name: 'digest',
    schedule: '* * * * *',
    missed: 'once',
    tz: 'Europe/Berlin',
    retryLimit: 2,
    timeoutMs: 30_000,
    handle,
    ...more,
  }
}

const withoutClock = skipAsRunner('pg-boss’s clock of tests makes functions in its schema')

test(
  'with two instances a cron job runs once per tick, also for ticks that nobody saw',
  { skip: withoutClock },
  async (t) => {
    const bosses = await createBosses(t)
    const clock = new TestClock(new Date('2026-11-22T10:00:30Z'))
    let runs = 0
    // A function: the type checker would take the first comparison for the last word.
    const ran = (): number => runs
    for (let instance = 0; instance < 2; instance++) {
      const boss = await bosses.boss({ clock })
      const jobs = await startJobs(bosses, boss, [digest(() => void (runs += 1))])
      t.after(() => jobs.stop(0))
    }
    const minutes = async (count: number): Promise<void> => {
      for (let i = 0; i < count * 12; i++) await clock.tick(5_000)
    }
    await minutes(3)
    // The tick of the minute that it was scheduled in counts when pg-boss looks before that minute is over.
    const first = ran()
    assert.ok(first === 3 || first === 4, `${first} runs in three minutes`)
    // An outage of ten minutes: one run makes up for all of them, and the rhythm goes on.
    await clock.setTime(new Date(clock.now() + 600_000))
    await minutes(2)
    assert.equal(ran(), first + 3)
    const jobs = await jobsOf(bosses.pool, QUEUE)
    assert.equal(jobs.filter(({ state }) => state !== 'completed').length, 0)
  },
)

test(
  'a job by rrule runs at the times of its rule, in its zone, and makes up for ticks that nobody saw',
  { skip: withoutClock },
  async (t) => {
    const bosses = await createBosses(t)
    const clock = new TestClock(new Date('2026-11-22T10:01:00Z'))
    let runs = 0
    const ran = (): number => runs
    const boss = await bosses.boss({ clock })
    // 07:00 and 11:00 in UTC; by a rule whose zone is lost 12:30 and 16:30.
    const rule = 'FREQ=DAILY;BYHOUR=12,16;BYMINUTE=30;BYSECOND=0'
    const jobs = await startJobs(bosses, boss, [
      digest(() => void (runs += 1), { schedule: rule, tz: 'Asia/Kolkata' }),
    ])
    t.after(() => jobs.stop(0))
    const minutes = async (count: number): Promise<void> => {
      for (let i = 0; i < count * 12; i++) await clock.tick(5_000)
    }
    await clock.setTime(new Date('2026-11-22T10:57:30Z'))
    await minutes(2)
    assert.equal(ran(), 0)
    await minutes(2)
    assert.equal(ran(), 1)
    // Two days that nobody saw: four ticks, one run.
    await clock.setTime(new Date('2026-11-24T11:30:00Z'))
    await minutes(2)
    assert.equal(ran(), 2)
  },
)

test('a run is logged under a trace that its retry keeps', async (t) => {
  const bosses = await createBosses(t)
  const boss = await bosses.boss()
  const traces: string[] = []
  const jobs = await startJobs(bosses, boss, [
    digest((job, context) => {
      traces.push(context.traceId)
      assert.equal(context.traceHeaders()['X-Trace-ID'], context.traceId)
      context.log.info('counting')
      if (traces.length === 1) throw new RangeError('first time')
      assert.equal(job.name, 'digest')
    }),
  ])
  t.after(() => jobs.stop(0))
  await boss.pg.send(QUEUE, null, { retryDelay: 0, retryBackoff: false })
  await until('the second run', async () => (await jobsOf(bosses.pool, QUEUE))[0]?.state === 'completed')
  assert.equal(traces[0], traces[1])
  const lines = bosses.lines.filter(({ trace_id }) => trace_id === traces[0])
  assert.deepEqual(
    lines.map(({ event }) => event),
    ['job_started', 'handler_log', 'job_failed', 'job_started', 'handler_log', 'job_done'],
  )
  assert.equal(lines[2]?.['msg'], 'digest failed: first time')
  assert.equal(lines.at(-1)?.['attempt'], 2)
})

test('a run past its timeout is aborted and fails', async (t) => {
  const bosses = await createBosses(t)
  const boss = await bosses.boss()
  const aborted = Promise.withResolvers<unknown>()
  const jobs = await startJobs(bosses, boss, [
    digest(
      (_, { signal }) =>
        new Promise<void>((resolve) => {
          signal.addEventListener('abort', () => {
            aborted.resolve(signal.reason)
            resolve()
          })
        }),
      { timeoutMs: 200, retryLimit: 0 },
    ),
  ])
  t.after(() => jobs.stop(0))
  await boss.pg.send(QUEUE)
  assert.match(String(await aborted.promise), /JobTimedOut/)
  await until('the failure', async () => (await jobsOf(bosses.pool, QUEUE))[0]?.state === 'failed')
})

test('a pause of the process does not use up the timeout of a run', async (t) => {
  const bosses = await createBosses(t)
  const boss = await bosses.boss()
  const asked = Promise.withResolvers<undefined>()
  const handle = async (): Promise<void> => {
    const answer = bosses.pool.query('SELECT pg_sleep(0.5)')
    asked.resolve(undefined)
    await answer
  }
  const jobs = await startJobs(bosses, boss, [digest(handle, { timeoutMs: 1_500, retryLimit: 0 })])
  t.after(() => jobs.stop(0))
  await boss.pg.send(QUEUE)
  await asked.promise
  await bosses.pool.query('SELECT') // by now the other is on its way, too
  // To timers and sockets a blocked event loop is what SIGSTOP is.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3_000)
  const state = await until('its end', async () => {
    const found = (await jobsOf(bosses.pool, QUEUE))[0]?.state
    return found !== 'active' && found
  })
  assert.equal(state, 'completed')
})

test('a drain waits for a run, and gives it back when it takes too long', async (t) => {
  const bosses = await createBosses(t)
  const boss = await bosses.boss()
  let seen: AbortSignal | undefined
  const started = Promise.withResolvers<undefined>()
  const end = Promise.withResolvers<undefined>()
  const jobs = await startJobs(bosses, boss, [
    digest(async (_, { signal }) => {
      seen = signal
      started.resolve(undefined)
      await end.promise
    }),
  ])
  await boss.pg.send(QUEUE)
  await started.promise
  assert.deepEqual(jobs.running(), ['digest'])
  assert.deepEqual(await jobs.stop(200), { givenBack: 1 })
  assert.equal(seen?.aborted, true)
  end.resolve(undefined)
  await until('the handler to end', () => jobs.running().length === 0)
  const [job] = await jobsOf(bosses.pool, QUEUE)
  assert.deepEqual([job?.state, job?.retry_count, job?.retry_limit], ['created', 0, 3])
})

test('the schedule of a job that no config has any more is forgotten, once the last instance that had it is gone', async (t) => {
  const bosses = await createBosses(t)
  const boss = await bosses.boss()
  const jobs = ['digest', 'gone', 'elsewhere'].map((name) => digest(() => undefined, { name }))
  await (await startJobs(bosses, boss, jobs)).stop(0)
  await bosses.pool.query(
    `INSERT INTO service_ops.runner_instance (instance_id, holder, release, state, tasks) VALUES
       ('old', gen_random_uuid(), '1', 'draining', '{gone}'), ('other', gen_random_uuid(), '2', 'ready', '{elsewhere}')`,
  )
  const left = async (): Promise<string[]> => {
    await forgetRemovedJobs(bosses.pool, jobs.slice(0, 1))
    return (await boss.pg.getSchedules()).map(({ name }) => name).sort()
  }
  assert.deepEqual(await left(), ['job.digest', 'job.elsewhere', 'job.gone'])
  await bosses.pool.query(
    `UPDATE service_ops.runner_instance SET state = 'stopped' WHERE instance_id = 'old'`,
  )
  assert.deepEqual(await left(), ['job.digest', 'job.elsewhere'])
})
