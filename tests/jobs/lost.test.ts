import assert from 'node:assert/strict'
import { test } from 'node:test'
import { claimJob } from '../../src/jobs/claimRows.ts'
import { jobQueue } from '../../src/jobs/queues.ts'
import { takeBackJobs, takeBackLostJobs } from '../../src/jobs/takeBack.ts'
import { takeJob } from '../../src/jobs/workers.ts'
import { createBosses, jobsOf } from './bosses.ts'
import { jobOf, startJobs } from './jobs.ts'

const QUEUE = jobQueue('report')

test('jobs of an instance that is silent, or has a session, stay its own; those of one that nobody watches are taken back', async (t) => {
  const bosses = await createBosses(t)
  const { pool, log } = bosses
  const boss = await bosses.boss()
  const jobs = await startJobs(bosses, boss, [jobOf(() => undefined)], { held: () => true })
  // It has no record, but sessions: test-2.
  const { own } = await bosses.boss()
  await own.query('SELECT 1')
  await pool.query(`
    INSERT INTO service_ops.runner_instance (instance_id, holder, release, state, tasks, last_seen_at)
    VALUES ('silent', gen_random_uuid(), '1', 'ready', '{}', now() - interval '1 hour'),
           ('stopped', gen_random_uuid(), '1', 'stopped', '{}', now())`)
  for (const owner of ['silent', 'stopped', 'no-record', 'test-2', 'asking']) {
    await jobs.send('report', owner, { singletonKey: owner })
    const job = await takeJob(boss.pg, QUEUE)
    assert.ok(job !== undefined && (await claimJob(pool, job, owner)))
  }
  await takeBackLostJobs(pool, 'asking', log)
  const { rows } = await pool.query<{ owner: string }>(
    `SELECT singleton_key AS owner FROM pgboss.job WHERE name = $1 AND state = 'active' ORDER BY 1`,
    [QUEUE],
  )
  assert.deepEqual(
    rows.map(({ owner }) => owner),
    ['asking', 'silent', 'test-2'],
  )
  assert.equal((await jobsOf(pool, QUEUE)).length, 5)
})

test('a job that its owner settles while its third death is counted has not failed', async (t) => {
  const bosses = await createBosses(t)
  const boss = await bosses.boss()
  const jobs = await startJobs(bosses, boss, [jobOf(() => undefined)], { held: () => true })
  await jobs.send('report', null)
  const job = await takeJob(boss.pg, QUEUE)
  assert.ok(job !== undefined && (await claimJob(bosses.pool, job, 'gone')))
  await bosses.pool.query('UPDATE service_ops.job_claim SET deaths = 2')
  const pool = bosses.newPool()
  const query = pool.query.bind(pool)
  t.mock.method(pool, 'query', async (text: string, values?: unknown[]) => {
    const answer = await query(text, values)
    // What it runs has been looked at; it ends now.
    if (text.includes('ORDER BY c.claimed_at')) await boss.pg.complete(QUEUE, job)
    return answer
  })
  assert.equal(await takeBackJobs(pool, 'gone', 'dead', bosses.log), 0)
  assert.equal((await jobsOf(bosses.pool, QUEUE))[0]?.state, 'completed')
  assert.deepEqual(
    bosses.lines.filter(({ event }) => event === 'job_failed'),
    [],
  )
  const { rows } = await bosses.pool.query('SELECT deaths FROM service_ops.job_claim')
  assert.deepEqual(rows, [{ deaths: 2 }])
})
