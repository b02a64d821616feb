import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { createJobTick, pollQueue } from '../../src/jobs/jobTick.ts'
import { keepDue, makePassQueue } from '../../src/jobs/passQueue.ts'
import { cronRhythm, everyRhythm } from '../../src/jobs/rhythm.ts'
import type { DuePass } from '../../src/jobs/ticks.ts'
import { until } from '../support/until.ts'
import { createBosses, jobsOf } from './bosses.ts'

const at = (text: string): number => Date.parse(text)
const text = (time: number): string => new Date(time).toISOString()

test('times of a cron expression are those of its zone, also when its clocks change', () => {
  const three = cronRhythm({ expression: '0 3 * * *', tz: 'Europe/Berlin' })
  const due = at('2026-10-24T01:00:00Z')
  assert.equal(text(three.next(due, due + 5)), '2026-10-25T02:00:00.000Z')
  // 02:30 does not exist on that day; the pass comes an hour later by the clock on the wall.
  const half = cronRhythm({ expression: '30 2 * * *', tz: 'Europe/Berlin' })
  assert.equal(
    text(half.next(at('2026-03-28T01:30:00Z'), at('2026-03-28T01:30:00Z'))),
    '2026-03-29T01:30:00.000Z',
  )
  // The same time is not met again for a clock that is a moment behind.
  assert.equal(text(three.next(due, due - 50)), '2026-10-25T02:00:00.000Z')
})

test('due times that went by are counted', () => {
  const hourly = cronRhythm({ expression: '0 * * * *', tz: 'UTC' })
  const due = at('2026-11-22T10:00:00Z')
  assert.equal(hourly.between(due, due + 5), 0)
  assert.equal(hourly.between(due, at('2026-11-22T13:00:00Z')), 3)
  const minute = everyRhythm(60_000)
  assert.equal(minute.between(due, due + 59_999), 0)
  assert.equal(minute.between(due, due + 180_000), 3)
})

test('a leader by cron makes no pass before its time, makes up for a missed one once, and keeps to the times', async (t) => {
  const bosses = await createBosses(t)
  const boss = await bosses.boss()
  const queue = pollQueue('nightly')
  // A year away whenever this runs, or nearly: nothing falls due while it does.
  const month = (new Date().getUTCMonth() + 6) % 12
  const rhythm = cronRhythm({ expression: `0 3 1 ${month + 1} *`, tz: 'UTC' })
  const tick = createJobTick({ boss, poller: 'nightly', rhythm })
  const lead = new AbortController()
  let passes = 0
  const first = tick.next(lead.signal).then((pass) => {
    if (pass !== undefined) passes += 1
    return pass
  })
  const [queued] = await until('the job to be queued', async () => {
    const jobs = await jobsOf(bosses.pool, queue)
    return jobs.length > 0 && jobs
  })
  assert.equal(queued?.start_after.getTime(), rhythm.next(Date.now(), Date.now()))
  lead.abort()
  assert.equal(await first, undefined)
  assert.equal(passes, 0)
  // An outage of years, in which that time came.
  await bosses.pool.query(
    `UPDATE pgboss.job SET start_after = start_after - interval '3 years' WHERE name = $1`,
    [queue],
  )
  const next = new AbortController()
  const pass = await tick.next(next.signal)
  assert.deepEqual([pass?.cause, pass?.missed], ['job', 2])
  await pass?.done({ ok: true })
  const left = (await jobsOf(bosses.pool, queue)).filter(({ state }) => state === 'created')
  assert.deepEqual(
    left.map(({ start_after: time }) => time.getTime()),
    [rhythm.next(Date.now(), Date.now())],
  )
  next.abort()
  await tick.close()
})

test('a job that is queued for a time of the rhythm before is brought forward, one that is a minute off is not', async (t) => {
  const bosses = await createBosses(t)
  const boss = await bosses.boss()
  const month = (new Date().getUTCMonth() + 6) % 12
  const lead = async (expression: string) => {
    const tick = createJobTick({ boss, poller: 'p', rhythm: cronRhythm({ expression, tz: 'UTC' }) })
    const leading = new AbortController()
    const pass = tick.next(leading.signal)
    await until('a job', async () => (await jobsOf(bosses.pool, pollQueue('p'))).length > 0)
    const end = async (): Promise<void> => {
      leading.abort()
      await pass
      await tick.close()
    }
    return { pass, end }
  }
  await (await lead(`0 3 1 ${month + 1} *`)).end()
  const often = await lead('*/2 * * * * *')
  const pass = await often.pass
  assert.equal(pass?.cause, 'job')
  await pass.done({ ok: true })
  await often.end()
  // Sent by a clock that was half a minute ahead: its time has been met, and is not met again.
  const hourly = cronRhythm({ expression: '0 * * * *', tz: 'UTC' })
  const hour = hourly.next(Date.now(), Date.now())
  await boss.pg.createQueue('q', { policy: 'stately' })
  await boss.pg.send('q', null, { startAfter: new Date(hour + 3_600_000) })
  assert.equal(await keepDue(boss, 'q', hourly, hour - 30_000), hour + 3_600_000)
  assert.equal(await keepDue(boss, 'q', hourly, hour - 1_800_000), hour)
})

/** A poller by cron whose time has come; the next is hours away at least. */
async function missedPass(t: TestContext) {
  const bosses = await createBosses(t)
  const boss = await bosses.boss()
  const hour = (new Date().getUTCHours() + 12) % 24
  const rhythm = cronRhythm({ expression: `0 ${hour} * * *`, tz: 'UTC' })
  await makePassQueue(boss, pollQueue('p'))
  const due = new Date(Math.floor(Date.now() / 1000) * 1000 - 3_600_000)
  await boss.pg.send(pollQueue('p'), null, { startAfter: due })
  const tick = createJobTick({ boss, poller: 'p', rhythm })
  t.after(() => tick.close())
  const leading = new AbortController()
  t.after(() => leading.abort())
  const pass = async (): Promise<DuePass> => {
    const next = await tick.next(leading.signal)
    assert.ok(next !== undefined)
    return next
  }
  const jobs = () => jobsOf(bosses.pool, pollQueue('p'))
  return { bosses, tick, leading, pass, jobs, due: due.getTime(), next: rhythm.next(Date.now(), Date.now()) }
}

test('a pass by cron that failed is made again soon and later later, and is due as it was', async (t) => {
  const { tick, pass, jobs, due, next } = await missedPass(t)
  const waits: number[] = []
  let again = await pass()
  for (let failure = 0; failure < 2; failure += 1) {
    await again.done({ ok: false })
    const queued = (await jobs()).find(({ state }) => state === 'created')
    waits.push(Math.round(((queued?.start_after.getTime() ?? NaN) - Date.now()) / 10_000))
    tick.demand()
    again = await pass()
    assert.ok(Math.abs(again.dueAt.getTime() - due) < 10_000, again.dueAt.toISOString())
  }
  assert.deepEqual(waits, [3, 6])
  await again.done({ ok: true })
  const left = (await jobs()).map(({ state, start_after: time }) => [state, time.getTime()])
  assert.deepEqual(
    left.map(([state]) => state),
    ['failed', 'failed', 'completed', 'created'],
  )
  assert.equal(left.at(-1)?.[1], next)
})

test('a failed pass whose queue could not be told is not completed: the next leader makes it', async (t) => {
  const { bosses, tick, leading, pass, jobs, due } = await missedPass(t)
  const failed = await pass()
  await bosses.hands.query('ALTER TABLE pgboss.job_common RENAME TO job_away')
  await failed.done({ ok: false })
  await bosses.hands.query('ALTER TABLE pgboss.job_away RENAME TO job_common')
  leading.abort()
  await tick.close()
  assert.deepEqual(
    (await jobs()).map(({ state, start_after: time }) => [state, time.getTime()]),
    [['created', due]],
  )
})
