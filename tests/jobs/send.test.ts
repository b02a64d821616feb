import assert from 'node:assert/strict'
import { test } from 'node:test'
import { jobQueue } from '../../src/jobs/queues.ts'
import { until } from '../support/until.ts'
import { createBosses, jobsOf } from './bosses.ts'
import { jobOf, startJobs } from './jobs.ts'

const QUEUE = jobQueue('report')

test('a job that is sent runs once, with its data and its trace id', async (t) => {
  const bosses = await createBosses(t)
  const boss = await bosses.boss()
  const seen: unknown[] = []
  const jobs = await startJobs(bosses, boss, [
    jobOf((job, { traceId }) => void seen.push([job.data, traceId])),
  ])
  t.after(() => jobs.stop(0))
  const sent = [{ tenant: 7 }, ['a', 'list'], 'text', 5, true, null, { data: 1, tidemark: 'mine' }]
  for (const [i, data] of sent.entries())
    assert.match(
      String(await jobs.send('report', data, { traceId: `trace-${i}`, priority: -i })),
      /^[0-9a-f-]{36}$/,
    )
  await until('all to have run', () => seen.length === sent.length)
  assert.deepEqual(
    seen,
    sent.map((data, i) => [data, `trace-${i}`]),
  )
})

test('a job sent within a transaction exists if and only if that commits', async (t) => {
  const bosses = await createBosses(t)
  const jobs = await startJobs(bosses, await bosses.boss(), [jobOf(() => undefined)])
  t.after(() => jobs.stop(0))
  for (const end of ['ROLLBACK', 'COMMIT']) {
    const client = await bosses.pool.connect()
    await client.query('BEGIN')
    assert.notEqual(await jobs.send('report', { end }, {}, client), null)
    assert.deepEqual(await jobsOf(bosses.pool, QUEUE), [])
    await client.query(end)
    client.release()
  }
  assert.equal((await jobsOf(bosses.pool, QUEUE)).length, 1)
})

test('one job of a singleton key is queued or runs at a time; without a key there are as many as are sent', async (t) => {
  const bosses = await createBosses(t)
  const jobs = await startJobs(bosses, await bosses.boss(), [
    jobOf(() => undefined),
    jobOf(() => undefined, { name: 'nightly', schedule: '0 3 * * *' }),
  ])
  await jobs.stop(0)
  const keyed = { singletonKey: 'tenant-7' }
  assert.notEqual(await jobs.send('report', null, keyed), null)
  assert.equal(await jobs.send('report', null, keyed), null)
  assert.notEqual(await jobs.send('report', null), null)
  assert.notEqual(await jobs.send('report', null), null)
  // One with a schedule is a singleton, unless it is given a key.
  assert.notEqual(await jobs.send('nightly', null), null)
  assert.equal(await jobs.send('nightly', null), null)
  assert.notEqual(await jobs.send('nightly', null, keyed), null)
})

test('a job is not fetched before its startAfter', async (t) => {
  const bosses = await createBosses(t)
  const jobs = await startJobs(bosses, await bosses.boss(), [jobOf(() => undefined)])
  await jobs.stop(0)
  await jobs.send('report', 'span', { startAfter: '2h' })
  await jobs.send('report', 'time', { startAfter: new Date('2099-01-01T00:00:00Z') })
  const { rows } = await bosses.pool.query<{ hours: number }>(
    `SELECT extract(epoch FROM start_after - created_on)::float / 3600 AS hours FROM pgboss.job WHERE name = $1 ORDER BY 1`,
    [QUEUE],
  )
  assert.equal(Math.round(rows[0]?.hours ?? 0), 2)
  const [, last] = await jobsOf(bosses.pool, QUEUE)
  assert.equal(last?.start_after.toISOString(), '2099-01-01T00:00:00.000Z')
})

test('what cannot be sent is refused by name, and nothing is queued', async (t) => {
  const bosses = await createBosses(t)
  const jobs = await startJobs(bosses, await bosses.boss(), [jobOf(() => undefined)])
  t.after(() => jobs.stop(0))
  const loop: Record<string, unknown> = {}
  loop['self'] = loop
  let deep: unknown = 'x'
  for (let i = 0; i < 1_001; i += 1) deep = [deep]
  const misspelt: object = { singletonkey: 'a' }
  const bad: [unknown, object | undefined, RegExp][] = [
    [{ list: [1, 2n] }, undefined, /JobInvalid: report was not sent: data\.list\[1\] is a bigint/],
    [{ at: Number.NaN }, undefined, /data\.at is NaN/],
    [() => undefined, undefined, /data is a function/],
    [loop, undefined, /data\.self contains itself/],
    [deep, undefined, /nested more than 1000 levels/],
    [{ a: 'x\0' }, undefined, /data\.a has a NUL/],
    [{ 'x\0': 1 }, undefined, /a name in data has a NUL/],
    ['\ud800', undefined, /half of a surrogate pair/],
    [{ toJSON: () => 'x\0' }, undefined, /data has a NUL/],
    ['x'.repeat(1_048_577), undefined, /JobTooLarge: .* 1048579 bytes/],
    [null, { traceId: 'not one' }, /traceId is not a trace id/],
    [null, { priority: 1.5 }, /priority is not a whole number/],
    [null, { singletonKey: '' }, /singletonKey is not a text/],
    [null, misspelt, /singletonkey is not an option: they are startAfter/],
    [null, { startAfter: 'soon' }, /startAfter is neither/],
    [null, { startAfter: new Date(Number.NaN) }, /startAfter is neither/],
  ]
  for (const [data, options, expected] of bad)
    await assert.rejects(jobs.send('report', data, options), (error) => expected.test(String(error)))
  await assert.rejects(
    jobs.send('reprot', null),
    /JobUnknown: the config has no job reprot \(it has report\)/,
  )
  assert.deepEqual(await jobsOf(bosses.pool, QUEUE), [])
})

test('a job that somebody else queued is its own data', async (t) => {
  const bosses = await createBosses(t)
  const boss = await bosses.boss()
  const seen: unknown[] = []
  const jobs = await startJobs(bosses, boss, [jobOf(({ data }) => void seen.push(data))])
  t.after(() => jobs.stop(0))
  await boss.pg.send(QUEUE, { by: 'sql' })
  await until('it', () => seen.length === 1)
  assert.deepEqual(seen, [{ by: 'sql' }])
})
