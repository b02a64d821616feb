import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import { claimJob, giveBackUnclaimed } from '../../src/jobs/claimRows.ts'
import { jobQueue } from '../../src/jobs/queues.ts'
import { takeBackJobs } from '../../src/jobs/takeBack.ts'
import { redriveJobs } from '../../src/jobs/deadJobs.ts'
import { takeJob, type HeldJob } from '../../src/jobs/workers.ts'
import { beat } from '../../src/tables/instance.ts'
import { until } from '../support/until.ts'
import { createBosses, jobsOf, type Bosses } from './bosses.ts'
import { jobOf, startJobs } from './jobs.ts'

const QUEUE = jobQueue('report')
const GONE = 'gone'

/** A queue of a job without retries, whose handler runs nowhere, with one job sent. */
async function sentOnce(bosses: Bosses) {
  const boss = await bosses.boss()
  const report = jobOf(() => undefined, { retryLimit: 0 })
  const jobs = await startJobs(bosses, boss, [report], { held: () => true })
  await jobs.send('report', { a: 1 }, { traceId: 'the-trace' })
  const fetch = async (): Promise<HeldJob> => {
    const job = await takeJob(boss.pg, QUEUE)
    assert.ok(job !== undefined)
    return job
  }
  return { boss, report, jobs, fetch, state: async () => (await jobsOf(bosses.pool, QUEUE))[0]?.state }
}

test('a job that ends its process is given back twice, then it fails, and a copy lies among the dead', async (t) => {
  const bosses = await createBosses(t)
  const { boss, report, fetch, state } = await sentOnce(bosses)
  for (let death = 1; death <= 3; death += 1) {
    assert.ok(await claimJob(bosses.pool, await fetch(), GONE))
    // Several see it; one of them takes it back.
    await Promise.all([1, 2].map(() => takeBackJobs(bosses.newPool(), GONE, 'dead', bosses.log)))
    assert.equal(await state(), death < 3 ? 'created' : 'failed')
  }
  const failed = bosses.lines.filter(({ event }) => event === 'job_failed')
  assert.deepEqual(
    failed.map(({ class: name }) => name),
    ['JobKilledProcesses'],
  )
  assert.equal((await jobsOf(bosses.pool, 'jobs.dead')).length, 1)
  // Sent again it has its data and its trace, and all its retries.
  const seen: unknown[] = []
  assert.equal(await redriveJobs(boss, [report], { job: 'report' }), 1)
  assert.equal(await redriveJobs(boss, [report], { job: 'report' }), 0)
  const again = await startJobs(bosses, boss, [
    jobOf(({ data }, { traceId }) => void seen.push([data, traceId]), { retryLimit: 0 }),
  ])
  t.after(() => again.stop(0))
  await until('it to have run', () => seen.length === 1)
  assert.deepEqual(seen, [[{ a: 1 }, 'the-trace']])
  await assert.rejects(redriveJobs(boss, [report], { job: 'nobody' }), { name: 'JobUnknown' })
})

test('a frozen instance’s job is given back unburned four times in a row, and what it says later is not heard', async (t) => {
  const bosses = await createBosses(t)
  const { boss, fetch, state } = await sentOnce(bosses)
  const first = await fetch()
  let held = first
  for (let freeze = 0; freeze < 4; freeze += 1) {
    assert.ok(await claimJob(bosses.pool, held, GONE))
    assert.equal(await takeBackJobs(bosses.pool, GONE, 'frozen', bosses.log), 1)
    held = await fetch()
  }
  assert.ok(await claimJob(bosses.pool, held, 'another'))
  await boss.pg.complete(QUEUE, first, null)
  assert.equal(await state(), 'active')
  // Nor does the frozen one's end take the claim of the one that has it now.
  assert.equal(await takeBackJobs(bosses.pool, GONE, 'dead', bosses.log), 0)
  assert.equal(await claimJob(bosses.pool, first, GONE), false)
  await boss.pg.complete(QUEUE, held, null)
  assert.equal(await state(), 'completed')
})

test('a job that freezes five instances in a row fails then, with the reason', async (t) => {
  const bosses = await createBosses(t)
  const { fetch, state } = await sentOnce(bosses)
  for (let freeze = 1; freeze <= 5; freeze += 1) {
    assert.ok(await claimJob(bosses.pool, await fetch(), GONE))
    await takeBackJobs(bosses.pool, GONE, 'frozen', bosses.log)
    assert.equal(await state(), freeze < 5 ? 'created' : 'failed')
  }
  const failed = bosses.lines.filter(({ event }) => event === 'job_failed')
  assert.deepEqual(
    failed.map(({ class: name }) => name),
    ['JobFreezesInstances'],
  )
})

test('an attempt that nobody claimed is given back, and who claims it late does not begin', async (t) => {
  const bosses = await createBosses(t)
  const { fetch, state } = await sentOnce(bosses)
  const lost = await fetch()
  assert.equal(await giveBackUnclaimed(bosses.pool, QUEUE, 60_000), 0)
  assert.equal(await giveBackUnclaimed(bosses.pool, QUEUE, 0), 1)
  assert.equal(await claimJob(bosses.pool, lost, 'late'), false)
  const claimed = await fetch()
  assert.ok(await claimJob(bosses.pool, claimed, 'alive'))
  assert.equal(await giveBackUnclaimed(bosses.pool, QUEUE, 0), 0)
  assert.equal(await state(), 'active')
})

test('while an instance of a release without claims lives, a job that nobody claimed may be running there', async (t) => {
  const bosses = await createBosses(t)
  const { fetch, state } = await sentOnce(bosses)
  await fetch()
  // As the statement of that release writes it.
  await bosses.pool.query(
    `INSERT INTO service_ops.runner_instance (instance_id, holder, release, state, sentinel, tasks)
     VALUES ('old', gen_random_uuid(), '0.1.0', 'ready', true, '{report}')`,
  )
  const me = { machineId: null, region: null, processGroup: null, sentinel: true, tasks: ['report'] }
  await beat(bosses.pool, {
    ...me,
    instanceId: 'new',
    holder: randomUUID(),
    release: '0.2.0',
    state: 'ready',
  })
  assert.equal(await giveBackUnclaimed(bosses.pool, QUEUE, 0), 0)
  assert.equal(await state(), 'active')
  await bosses.pool.query(
    `UPDATE service_ops.runner_instance SET state = 'stopped' WHERE instance_id = 'old'`,
  )
  assert.equal(await giveBackUnclaimed(bosses.pool, QUEUE, 0), 1)
})

test('of a claim and the look for unclaimed attempts at the same moment, one wins', async (t) => {
  const bosses = await createBosses(t)
  const { fetch, boss } = await sentOnce(bosses)
  const job = await fetch()
  await bosses.pool.query(
    `UPDATE pgboss.job SET started_on = started_on - interval '1 minute', heartbeat_on = NULL WHERE name = $1`,
    [QUEUE],
  )
  const client = await bosses.pool.connect()
  await client.query('BEGIN')
  assert.ok(await claimJob(client, job, 'alive'))
  // It has looked before the claim is committed, and waits for the row.
  const looked = giveBackUnclaimed(boss.own, QUEUE, 10_000)
  await until('the look to wait', async () => {
    const { rows } = await bosses.pool.query(
      `SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%give_back%' OR wait_event = 'transactionid'`,
    )
    return rows.length > 0
  })
  await client.query('COMMIT')
  client.release()
  assert.equal(await looked, 0)
})

test('a held job is not begun, its run under way goes on, and it begins when it is let go', async (t) => {
  const bosses = await createBosses(t)
  const boss = await bosses.boss()
  const held = new Set<string>()
  const end = Promise.withResolvers<undefined>()
  let runs = 0
  const jobs = await startJobs(
    bosses,
    boss,
    [
      jobOf(async () => {
        runs += 1
        if (runs === 1) await end.promise
      }),
    ],
    { held: (job) => held.has(job) },
  )
  t.after(() => jobs.stop(0))
  await jobs.send('report', null)
  await until('the first run', () => runs === 1)
  held.add('report')
  jobs.wake()
  await jobs.send('report', null)
  end.resolve(undefined)
  await until('its end', async () => (await jobsOf(bosses.pool, QUEUE))[0]?.state === 'completed')
  // Longer than it takes a worker to be woken.
  await bosses.pool.query('SELECT pg_sleep(4)')
  assert.equal(runs, 1)
  assert.equal(boss.health().status, 'ok')
  held.clear()
  jobs.wake()
  await until('the second run', () => runs === 2)
})
