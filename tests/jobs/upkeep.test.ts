import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createUpkeep, UPKEEP_QUEUE } from '../../src/jobs/upkeep.ts'
import { until } from '../support/until.ts'
import { createBosses, jobsOf } from './bosses.ts'

test('duties run again and again, never two runs of one at once, whichever instance works them', async (t) => {
  const bosses = await createBosses(t)
  const running = { now: 0, worst: 0, runs: 0 }
  for (let i = 0; i < 2; i++) {
    const boss = await bosses.boss()
    const run = async (): Promise<void> => {
      running.now += 1
      running.runs += 1
      running.worst = Math.max(running.worst, running.now)
      await bosses.pool.query('SELECT pg_sleep(0.1)')
      running.now -= 1
    }
    const upkeep = createUpkeep({
      boss,
      duties: [{ name: 'retention', everyMs: 1_000, run }],
      log: bosses.log,
    })
    await upkeep.start()
    t.after(() => upkeep.stop(1_000))
  }
  // A run whose end could not be written is made good within a minute.
  await until('three runs', () => running.runs >= 3, 90_000)
  assert.equal(running.worst, 1)
  const unfinished = (await jobsOf(bosses.pool, UPKEEP_QUEUE)).filter(({ state }) =>
    ['created', 'retry', 'active'].includes(state),
  )
  assert.equal(unfinished.length, 1)
})

test('a duty that fails is said, and queued again at its next time', async (t) => {
  const bosses = await createBosses(t)
  const boss = await bosses.boss()
  let runs = 0
  const run = (): Promise<void> => {
    runs += 1
    return runs === 1 ? Promise.reject(new RangeError('no')) : Promise.resolve()
  }
  const upkeep = createUpkeep({ boss, duties: [{ name: 'history', everyMs: 1_000, run }], log: bosses.log })
  await upkeep.start()
  t.after(() => upkeep.stop(1_000))
  await until('the second run', () => runs >= 2)
  const states = (await jobsOf(bosses.pool, UPKEEP_QUEUE)).map(({ state }) => state)
  assert.equal(states[0], 'failed')
  const failed = bosses.lines.find(({ event }) => event === 'job_failed')
  assert.deepEqual([failed?.['job'], failed?.['class']], ['upkeep.history', 'RangeError'])
})

test('stop gives back a duty that does not end in time, before pg-boss can fail it for having been aborted', async (t) => {
  const bosses = await createBosses(t)
  const boss = await bosses.boss()
  // The give-back is slower than the word of a handler that ends as soon as it is told to.
  const query = boss.own.query.bind(boss.own)
  t.mock.method(boss.own, 'query', async (text: string, values?: readonly unknown[]) => {
    if (text.includes("'created' END")) await bosses.pool.query('SELECT pg_sleep(0.5)')
    return query(text, values)
  })
  const started = Promise.withResolvers<undefined>()
  const run = (signal: AbortSignal): Promise<void> => {
    started.resolve(undefined)
    return new Promise((_, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
    })
  }
  const upkeep = createUpkeep({ boss, duties: [{ name: 'slow', everyMs: 1_000, run }], log: bosses.log })
  await upkeep.start()
  await started.promise
  await upkeep.stop(100)
  const [job] = await jobsOf(bosses.pool, UPKEEP_QUEUE)
  assert.deepEqual([job?.state, job?.retry_count], ['created', 0])
})

test('a duty that not every instance has is not held up by those that have not', async (t) => {
  const bosses = await createBosses(t)
  let runs = 0
  const run = (): Promise<number> => {
    runs += 1
    return Promise.resolve(1_000)
  }
  const slices = { name: 'sweep.orders', queue: 'upkeep.orders', everyMs: 3_600_000, run }
  for (const duties of [[], [], [slices], []]) {
    const upkeep = createUpkeep({ boss: await bosses.boss(), duties, log: bosses.log })
    await upkeep.start()
    t.after(() => upkeep.stop(1_000))
  }
  await until('five slices', () => runs >= 5)
  // One that began without it takes it on later.
  const late = createUpkeep({ boss: await bosses.boss(), duties: [], log: bosses.log })
  await late.start()
  t.after(() => late.stop(1_000))
  let other = 0
  const notices = {
    ...slices,
    name: 'sweep.notices',
    queue: 'upkeep.notices',
    run: () => Promise.resolve(void (other += 1)),
  }
  late.add(notices)
  await until('a run of what was taken on later', () => other === 1)
  // Its job is queued again a moment after the run.
  await until('a run before its time', async () => {
    await late.hasten('sweep.notices')
    return other >= 2
  })
})

test('an instance that leaves a duty leaves its queue to the others', async (t) => {
  const bosses = await createBosses(t)
  const runs = { leaver: 0, other: 0 }
  const duty = (run: () => Promise<number | 'leave'>) => ({
    name: 'sweep.orders',
    queue: 'upkeep.orders',
    everyMs: 1_000,
    run,
  })
  const leaver = createUpkeep({
    boss: await bosses.boss(),
    duties: [duty(() => Promise.resolve(((runs.leaver += 1), 'leave' as const)))],
    log: bosses.log,
  })
  await leaver.start()
  t.after(() => leaver.stop(1_000))
  await until('it to have met its duty', () => runs.leaver === 1)
  const other = createUpkeep({
    boss: await bosses.boss(),
    duties: [duty(() => Promise.resolve((runs.other += 1) && 1_000))],
    log: bosses.log,
  })
  await other.start()
  t.after(() => other.stop(1_000))
  await until('the other to do it alone', () => runs.other >= 4)
  assert.equal(runs.leaver, 1)
})
