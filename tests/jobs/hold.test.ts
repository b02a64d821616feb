import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { giveBackUnclaimed } from '../../src/jobs/claimRows.ts'
import { jobQueue } from '../../src/jobs/queues.ts'
import type { Pool, PoolClient } from '../../src/db/pool.ts'
import { until } from '../support/until.ts'
import { createBosses, jobsOf } from './bosses.ts'
import { jobOf, startJobs } from './jobs.ts'

const QUEUE = jobQueue('report')
const GIVE_BACK = "'created' END"
const CLAIM = 'INSERT INTO service_ops.job_claim'
const FETCH = 'SKIP LOCKED'
const COMPLETE = "state = 'completed'"

/** Statements of a pool that have one of these texts meet this first; returns how many did. */
function disturb(
  t: TestContext,
  pool: Pool,
  texts: readonly string[],
  how: (time: number) => Promise<void>,
): { times: number } {
  const met = { times: 0 }
  const meet = async (text: unknown): Promise<void> => {
    if (typeof text !== 'string' || !texts.some((part) => text.includes(part))) return
    met.times += 1
    await how(met.times)
  }
  const query = pool.query.bind(pool)
  t.mock.method(pool, 'query', async (text: string, values?: unknown[]) => {
    await meet(text)
    return query(text, values)
  })
  const prepared = pool.prepared.bind(pool)
  t.mock.method(pool, 'prepared', async (name: string, text: string, values: readonly unknown[]) => {
    await meet(text)
    return prepared(name, text, values)
  })
  const known = new WeakSet<PoolClient>()
  const connect = pool.connect.bind(pool)
  t.mock.method(pool, 'connect', async () => {
    const client = await connect()
    if (known.has(client)) return client
    known.add(client)
    const ask = client.query.bind(client)
    return Object.assign(client, {
      async query(text: string, values?: unknown[]) {
        await meet(text)
        return ask(text, values)
      },
    })
  })
  return met
}

const breaks = (): Promise<never> => Promise.reject(new Error('Connection terminated unexpectedly'))

/** A job without retries whose handler never ends, under way. */
async function underWay(t: TestContext) {
  const bosses = await createBosses(t)
  const boss = await bosses.boss()
  const begun = Promise.withResolvers<undefined>()
  const stuck = async (): Promise<void> => {
    begun.resolve(undefined)
    await new Promise(() => undefined)
  }
  const jobs = await startJobs(bosses, boss, [jobOf(stuck, { retryLimit: 0 })])
  await jobs.send('report', null)
  await begun.promise
  const state = async (): Promise<string | undefined> => (await jobsOf(bosses.pool, QUEUE))[0]?.state
  return { bosses, boss, jobs, state }
}

test('a give-back that fails at the end of the drain is tried again, and the job is not lost', async (t) => {
  const { boss, jobs, state } = await underWay(t)
  const met = disturb(t, boss.own, [GIVE_BACK], (time) => (time === 1 ? breaks() : Promise.resolve()))
  assert.deepEqual(await jobs.stop(100), { givenBack: 1 })
  assert.equal(met.times, 2)
  assert.equal(await state(), 'created')
})

test('of a give-back that takes longer than the stop pg-boss hears nothing, and the job does not fail', async (t) => {
  const { bosses, boss, jobs, state } = await underWay(t)
  const go = Promise.withResolvers<undefined>()
  disturb(t, boss.own, [GIVE_BACK], () => go.promise.then(() => undefined))
  assert.deepEqual(await jobs.stop(100), { givenBack: 0 })
  await boss.stop()
  assert.equal(await state(), 'active')
  assert.deepEqual(await jobsOf(bosses.pool, 'jobs.dead'), [])
  go.resolve(undefined)
  await until('the give-back', async () => (await state()) === 'created')
})

test('a job that is fetched when the stop of pg-boss is over is not failed, and begins elsewhere', async (t) => {
  const bosses = await createBosses(t)
  const boss = await bosses.boss()
  const go = Promise.withResolvers<undefined>()
  const met = disturb(t, boss.own, [FETCH], () => go.promise.then(() => undefined))
  const jobs = await startJobs(bosses, boss, [jobOf(() => undefined, { retryLimit: 0 })])
  await jobs.send('report', null)
  await until('the fetch to be on its way', () => met.times > 0)
  await jobs.stop(0)
  const stopped = new Promise((resolve) => boss.pg.once('stopped', () => resolve(undefined)))
  await boss.stop()
  go.resolve(undefined)
  await stopped
  // Given back by itself, where the stop was slow; else nobody has claimed it, and the look of the others gives it back.
  await until('the give-back', async () => {
    const [job] = await jobsOf(bosses.pool, QUEUE)
    assert.notEqual(job?.state, 'failed')
    await giveBackUnclaimed(bosses.pool, QUEUE, 0)
    return job?.state === 'created' && job.retry_limit === 1
  })
  assert.deepEqual(await jobsOf(bosses.pool, 'jobs.dead'), [])
})

test('a give-back that never comes through leaves the job active, for the others to take back', async (t) => {
  const { boss, jobs, state } = await underWay(t)
  disturb(t, boss.own, [GIVE_BACK], breaks)
  assert.deepEqual(await jobs.stop(100), { givenBack: 0 })
  await boss.stop()
  assert.equal(await state(), 'active')
})

test('an attempt whose claim and give-back fail begins later, also without retries', async (t) => {
  const bosses = await createBosses(t)
  const boss = await bosses.boss()
  let runs = 0
  const met = disturb(t, boss.own, [CLAIM, GIVE_BACK], (time) => (time <= 3 ? breaks() : Promise.resolve()))
  const jobs = await startJobs(bosses, boss, [jobOf(() => void (runs += 1), { retryLimit: 0 })])
  t.after(() => jobs.stop(0))
  await jobs.send('report', null)
  await until('the run', () => runs === 1)
  await until('its end', async () => (await jobsOf(bosses.pool, QUEUE))[0]?.state === 'completed')
  assert.ok(met.times > 3)
})

test('a job that succeeded is completed when its completion meets errors, and never failed', async (t) => {
  const bosses = await createBosses(t)
  const boss = await bosses.boss()
  let runs = 0
  const jobs = await startJobs(bosses, boss, [jobOf(() => void (runs += 1), { retryLimit: 0 })])
  t.after(() => jobs.stop(0))
  const met = disturb(t, boss.own, [COMPLETE], (time) => (time <= 2 ? breaks() : Promise.resolve()))
  await jobs.send('report', null)
  await until('its end', async () => (await jobsOf(bosses.pool, QUEUE))[0]?.state === 'completed')
  assert.ok(met.times >= 3)
  assert.equal(runs, 1)
  assert.deepEqual(await jobsOf(bosses.pool, 'jobs.dead'), [])
})

test('a job whose end is being written is not given back by a stop', async (t) => {
  const bosses = await createBosses(t)
  const boss = await bosses.boss()
  const jobs = await startJobs(bosses, boss, [jobOf(() => undefined, { retryLimit: 0 })])
  const met = disturb(t, boss.own, [COMPLETE], (time) => (time === 1 ? delay(1_000) : Promise.resolve()))
  await jobs.send('report', null)
  await until('the end to be written', () => met.times === 1)
  assert.deepEqual(await jobs.stop(100), { givenBack: 0 })
  assert.equal((await jobsOf(bosses.pool, QUEUE))[0]?.state, 'completed')
})

test('a failure that could not be written at once is written again, and the job is retried', async (t) => {
  const bosses = await createBosses(t)
  const boss = await bosses.boss()
  const fail = (): never => {
    throw new Error('not today')
  }
  const jobs = await startJobs(bosses, boss, [jobOf(fail, { retryLimit: 3 })])
  t.after(() => jobs.stop(0))
  disturb(t, boss.own, ['deleted_jobs AS'], (time) => (time <= 2 ? breaks() : Promise.resolve()))
  await jobs.send('report', null)
  await until('the retry', async () => (await jobsOf(bosses.pool, QUEUE))[0]?.state === 'retry')
})
