import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PassNotMade, PollerUnknown } from '../../src/errors.ts'
import { createJobTick, pollQueue } from '../../src/jobs/jobTick.ts'
import { requestPass } from '../../src/jobs/requestPass.ts'
import { createLoopTick, type Tick } from '../../src/jobs/ticks.ts'
import { createBosses, jobsOf, type Bosses } from './bosses.ts'

const POLLER = 'message_poller'

async function register(bosses: Bosses): Promise<void> {
  await bosses.pool.query(
    `INSERT INTO service_ops.background_task (id, task_name, kind, led, config_hash, release)
     VALUES (1, $1, 'poller', true, 'x', '1')`,
    [POLLER],
  )
}

/** Leads until aborted, as the poller does: every pass is written to the ledger. */
async function lead(bosses: Bosses, tick: Tick, signal: AbortSignal, rows: number): Promise<void> {
  for (;;) {
    const pass = await tick.next(signal)
    if (pass === undefined) return
    await bosses.pool.query(
      `INSERT INTO service_ops.poll_run (poller, due_at, started_at, outcome, rows_read, rows_inserted, late_rows, term, instance_id)
       VALUES ($1, $2, clock_timestamp(), 'ran', $3, 2, 1, 1, 'test')`,
      [POLLER, pass.dueAt, rows],
    )
    await pass.done({ ok: true })
  }
}

test('a pass is made at once by the leader of a queue, and its counts come back', async (t) => {
  const bosses = await createBosses(t)
  await register(bosses)
  const tick = createJobTick({ boss: await bosses.boss(), poller: POLLER, everyMs: 60_000 })
  const leading = new AbortController()
  const led = lead(bosses, tick, leading.signal, 3)
  const first = await requestPass(bosses.newPool(), POLLER)
  assert.deepEqual(first, { outcome: 'ran', rowsRead: 3, rowsInserted: 2, lateRows: 1, error: null })
  const start = performance.now()
  await requestPass(bosses.newPool(), POLLER)
  // No NOTIFY reached this leader: the worker's own look, twice a second, was enough.
  const tookMs = Math.round(performance.now() - start)
  t.diagnostic(`the pass was there after ${tookMs} ms`)
  assert.ok(tookMs < 30_000)
  leading.abort()
  await led
  await tick.close()
  const open = (await jobsOf(bosses.pool, pollQueue(POLLER))).filter(({ state }) => state !== 'completed')
  assert.deepEqual(
    open.map(({ state }) => state),
    ['created'],
  )
})

test('while a pass runs another one is queued', async (t) => {
  const bosses = await createBosses(t)
  await register(bosses)
  const tick = createJobTick({ boss: await bosses.boss(), poller: POLLER, everyMs: 60_000 })
  const leading = new AbortController()
  const running = await tick.next(leading.signal)
  await assert.rejects(requestPass(bosses.newPool(), POLLER, { timeoutMs: 300 }), PassNotMade)
  const states = (await jobsOf(bosses.pool, pollQueue(POLLER))).map(({ state }) => state)
  assert.deepEqual(states, ['active', 'created'])
  await running?.done({ ok: true })
  assert.equal((await tick.next(leading.signal))?.cause, 'job')
  await tick.close()
})

test('a poller without a queue hears the notification', async (t) => {
  const bosses = await createBosses(t)
  await register(bosses)
  const tick = createLoopTick({ everyMs: 3_600_000 })
  const { Client } = await import('pg')
  const client = new Client({ connectionString: bosses.url })
  t.after(() => client.end())
  await client.connect()
  await client.query('LISTEN tidemark_poll')
  client.on('notification', ({ payload }) => {
    if (payload === POLLER) tick.demand()
  })
  const leading = new AbortController()
  const led = lead(bosses, tick, leading.signal, 7)
  const pass = await requestPass(bosses.newPool(), POLLER)
  assert.equal(pass.rowsRead, 7)
  assert.deepEqual(await jobsOf(bosses.pool, pollQueue(POLLER)), [])
  leading.abort()
  await led
})

test('a leader that was not there yet when it was asked is asked again', async (t) => {
  const bosses = await createBosses(t)
  await register(bosses)
  const { Client } = await import('pg')
  const client = new Client({ connectionString: bosses.url })
  t.after(() => client.end())
  await client.connect()
  const asked = new Promise<void>((resolve) => client.once('notification', () => resolve()))
  await client.query('LISTEN tidemark_poll')
  const wanted = requestPass(bosses.newPool(), POLLER, { timeoutMs: 60_000 })
  wanted.catch(() => undefined) // awaited below
  await asked
  const leading = new AbortController()
  t.after(() => leading.abort())
  const tick = createLoopTick({ everyMs: 3_600_000 })
  client.on('notification', () => tick.demand())
  const first = await tick.next(leading.signal) // of a new leader: it began before it was asked, and is not written
  await first?.done({ ok: true })
  const led = lead(bosses, tick, leading.signal, 7)
  assert.equal((await wanted).rowsRead, 7)
  leading.abort()
  await led
})

test('an unknown poller and one that nobody leads are told apart', async (t) => {
  const bosses = await createBosses(t)
  await register(bosses)
  await assert.rejects(requestPass(bosses.pool, 'nobody'), PollerUnknown)
  await assert.rejects(requestPass(bosses.pool, POLLER, { timeoutMs: 100 }), PassNotMade)
})
