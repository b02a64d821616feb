import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Pool } from '../../src/db/pool.ts'
import { createJobTick, pollQueue } from '../../src/jobs/jobTick.ts'
import type { DuePass, Tick } from '../../src/jobs/ticks.ts'
import { until } from '../support/until.ts'
import { createBosses, jobsOf } from './bosses.ts'

const POLLER = 'message_poller'
const QUEUE = pollQueue(POLLER)

/** Looks all the time for two queued or two active jobs; `stop` returns what it found. */
function watchPlaces(pool: Pool): { stop(): Promise<number> } {
  const found = { worst: 0, going: true }
  const watching = (async () => {
    while (found.going) {
      const { rows } = await pool.query<{ worst: number }>(
        `SELECT coalesce(max(n), 0)::int AS worst FROM (
           SELECT count(*) AS n FROM pgboss.job WHERE name = $1 AND state <= 'active' GROUP BY state = 'active') AS x`,
        [QUEUE],
      )
      found.worst = Math.max(found.worst, rows[0]?.worst ?? 0)
    }
  })()
  return {
    async stop() {
      found.going = false
      await watching
      return found.worst
    },
  }
}

async function passOf(next: Promise<DuePass | undefined>): Promise<DuePass> {
  const pass = await next
  assert.ok(pass !== undefined)
  return pass
}

/** A job may come later than a short backstop waits for it: then the pass after it will have one. */
async function jobsComeAgain(tick: Tick, signal: AbortSignal): Promise<void> {
  await until('a pass by its job', async () => {
    const pass = await passOf(tick.next(signal))
    await pass.done({ ok: true })
    return pass.cause === 'job'
  })
}

test('each due pass is one job, on its rhythm, and a new leader begins at once', async (t) => {
  const bosses = await createBosses(t)
  const boss = await bosses.boss()
  // A pass that takes longer than this begins the rhythm anew.
  const everyMs = 2_500
  const tick = createJobTick({ boss, poller: POLLER, everyMs })
  const lead = new AbortController()
  for (let i = 0; i < 4; i++) {
    const pass = await passOf(tick.next(lead.signal))
    assert.equal(pass.cause, 'job')
    assert.ok(Math.abs(Date.now() - pass.dueAt.getTime()) < 3_000)
    await pass.done({ ok: i !== 1 })
  }
  const jobs = await jobsOf(bosses.pool, QUEUE)
  assert.deepEqual(
    jobs.map(({ state }) => state),
    ['completed', 'failed', 'completed', 'completed', 'created'],
  )
  const due = jobs.map(({ start_after }) => start_after.getTime())
  // The first is due at a microsecond of the database's; the rhythm is kept in milliseconds.
  assert.deepEqual(
    due.slice(1).map((time, i) => time - (due[i] ?? NaN)),
    [everyMs, everyMs, everyMs, everyMs],
  )
  assert.equal(boss.health().status, 'ok')
  await tick.close()
})

test('three competitors that take over from one another: one job a pass, never two queued or two active', async (t) => {
  const bosses = await createBosses(t)
  const watch = watchPlaces(bosses.pool)
  const ticks = []
  for (let i = 0; i < 3; i++) {
    const boss = await bosses.boss()
    // Whatever the backstop had to mend would show as its cause; that a machine is slow must not.
    ticks.push(createJobTick({ boss, poller: POLLER, everyMs: 300, backstopMs: 30_000 }))
  }
  const causes = new Set<string>()
  let finished = 0
  for (let round = 0; round < 9; round++) {
    const tick = ticks[round % 3]
    assert.ok(tick !== undefined)
    const lead = new AbortController()
    for (let i = 0; i < 2; i++) {
      const pass = await passOf(tick.next(lead.signal))
      causes.add(pass.cause)
      await pass.done({ ok: true })
      finished += 1
    }
    if (round % 3 === 0) {
      // Dies in the middle of a pass, and the next leader begins before it has given its job back.
      const cut = await passOf(tick.next(lead.signal))
      lead.abort()
      await cut.done({ ok: true })
    } else {
      const waiting = tick.next(lead.signal)
      lead.abort()
      // A job may have come at this very moment; then it is given back.
      await waiting
    }
  }
  await Promise.all(ticks.map((tick) => tick.close()))
  assert.ok((await watch.stop()) <= 1)
  assert.deepEqual([...causes], ['job'])
  const states = (await jobsOf(bosses.pool, QUEUE)).map(({ state }) => state)
  assert.equal(states.filter((state) => state === 'completed').length, finished)
  // One that is given back when the next leader has queued another already is cancelled.
  assert.deepEqual(
    states.filter((state) => state !== 'completed' && state !== 'cancelled'),
    ['created'],
  )
})

test('with the workers stopped passes go on as backstop, 3 s after their time, and health says so', async (t) => {
  const bosses = await createBosses(t)
  const boss = await bosses.boss()
  const tick = createJobTick({ boss, poller: POLLER, everyMs: 1_000 })
  const lead = new AbortController()
  await (await passOf(tick.next(lead.signal))).done({ ok: true })
  await boss.stopFetching()
  for (let i = 0; i < 2; i++) {
    const pass = await passOf(tick.next(lead.signal))
    const { rows } = await bosses.pool.query<{ late: number }>(
      'SELECT extract(epoch FROM clock_timestamp() - $1::timestamptz)::float8 AS late',
      [pass.dueAt],
    )
    const late = rows[0]?.late ?? NaN
    assert.equal(pass.cause, 'backstop')
    t.diagnostic(`the backstop came ${late} s after its time`)
    assert.ok(late >= 2.9 && late < 30, `${late} s after its time`)
    assert.equal(boss.health().status, 'degraded')
    await pass.done({ ok: true })
  }
  const states = (await jobsOf(bosses.pool, QUEUE)).map(({ state }) => state)
  assert.deepEqual(states, ['completed', 'completed', 'completed', 'created'])
  await tick.close()
})

test('with the queue’s table locked, so that it hangs instead of failing, the backstop is no later', async (t) => {
  const bosses = await createBosses(t)
  const boss = await bosses.boss()
  const tick = createJobTick({ boss, poller: POLLER, everyMs: 1_000, backstopMs: 1_000 })
  const lead = new AbortController()
  await (await passOf(tick.next(lead.signal))).done({ ok: true })
  const locker = await bosses.pool.connect()
  await locker.query('BEGIN')
  await locker.query('LOCK TABLE pgboss.job, pgboss.job_common IN ACCESS EXCLUSIVE MODE')
  const pass = await passOf(tick.next(lead.signal))
  const late = Date.now() - pass.dueAt.getTime()
  await locker.query('ROLLBACK')
  locker.release()
  assert.equal(pass.cause, 'backstop')
  t.diagnostic(`the backstop came ${late} ms after its time`)
  // 1 s of the backstop, 0.5 s for the queue, 0.25 s for a job on its way. Whoever waits for the lock waits for 5 s.
  assert.ok(late < 5_000, `${late} ms after its time`)
  await pass.done({ ok: true })
  await jobsComeAgain(tick, lead.signal)
  await tick.close()
})

test('the backstop clears a dead active job, and jobs come again', async (t) => {
  const bosses = await createBosses(t)
  const boss = await bosses.boss()
  const tick = createJobTick({ boss, poller: POLLER, everyMs: 3_000, backstopMs: 1_000 })
  const lead = new AbortController()
  await (await passOf(tick.next(lead.signal))).done({ ok: true })
  // Another process fetches the job and dies.
  const [stolen] = await boss.pg.fetch(QUEUE, { ignoreStartAfter: true, includeMetadata: true })
  assert.ok(stolen !== undefined)
  const pass = await passOf(tick.next(lead.signal))
  assert.equal(pass.cause, 'backstop')
  // The dead one was not quite dead: its late word about the job meets the fence.
  await boss.pg.complete(QUEUE, stolen)
  const row = async (): Promise<unknown[]> => {
    const [job] = (await jobsOf(bosses.pool, QUEUE)).filter(({ id }) => id === stolen.id)
    return [job?.state, job?.retry_count]
  }
  assert.deepEqual(await row(), ['active', stolen.retryCount + 1])
  await pass.done({ ok: true })
  assert.deepEqual(await row(), ['completed', stolen.retryCount + 1])
  await jobsComeAgain(tick, lead.signal)
  await tick.close()
})

test('a worker that is gone is made again by the backstop', async (t) => {
  const bosses = await createBosses(t)
  const boss = await bosses.boss()
  const tick = createJobTick({ boss, poller: POLLER, everyMs: 3_000, backstopMs: 500 })
  const lead = new AbortController()
  await (await passOf(tick.next(lead.signal))).done({ ok: true })
  await boss.pg.offWork(QUEUE)
  const pass = await passOf(tick.next(lead.signal))
  assert.equal(pass.cause, 'backstop')
  await pass.done({ ok: true })
  await jobsComeAgain(tick, lead.signal)
  await tick.close()
})

test('when the next job could not be sent, it is sent at its time', async (t) => {
  const bosses = await createBosses(t)
  const boss = await bosses.boss()
  const everyMs = 3_000
  const tick = createJobTick({ boss, poller: POLLER, everyMs })
  const lead = new AbortController()
  const pass = await passOf(tick.next(lead.signal))
  await bosses.hands.query('ALTER TABLE pgboss.job_common RENAME TO job_away')
  await pass.done({ ok: true })
  await bosses.hands.query('ALTER TABLE pgboss.job_away RENAME TO job_common')
  assert.ok(bosses.lines.some(({ event, loop }) => event === 'loop_failed' && loop === QUEUE))
  const next = await passOf(tick.next(lead.signal))
  assert.equal(next.cause, 'job')
  const late = Date.now() - pass.dueAt.getTime() - everyMs
  t.diagnostic(`it came ${late} ms after its time`)
  // Then the backstop would have made the pass.
  assert.ok(late < 3_000, `${late} ms after its time`)
  await next.done({ ok: true })
  await tick.close()
})

test('a demand brings the pass at once, also one that comes while a pass runs', async (t) => {
  const bosses = await createBosses(t)
  const boss = await bosses.boss()
  const tick = createJobTick({ boss, poller: POLLER, everyMs: 60_000 })
  const lead = new AbortController()
  await (await passOf(tick.next(lead.signal))).done({ ok: true })
  const waiting = tick.next(lead.signal)
  tick.demand()
  const pass = await passOf(waiting)
  assert.equal(pass.cause, 'demand')
  tick.demand()
  await until(
    'a job queued beside the active one',
    async () => (await jobsOf(bosses.pool, QUEUE)).length === 3,
  )
  await pass.done({ ok: true })
  const again = await passOf(tick.next(lead.signal))
  assert.equal(again.cause, 'demand')
  await again.done({ ok: true })
  const states = (await jobsOf(bosses.pool, QUEUE)).map(({ state }) => state)
  assert.deepEqual(states, ['completed', 'completed', 'completed', 'created'])
  await tick.close()
})

test('a leader whose own clock is an hour behind begins with the job, not with the backstop', async (t) => {
  const bosses = await createBosses(t)
  const boss = await bosses.boss()
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() - 3_600_000 })
  const tick = createJobTick({ boss, poller: POLLER, everyMs: 60_000 })
  const pass = await passOf(tick.next(new AbortController().signal))
  assert.equal(pass.cause, 'job')
  await pass.done({ ok: true })
  t.mock.timers.reset()
  await tick.close()
})
