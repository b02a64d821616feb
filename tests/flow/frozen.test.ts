import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { startInstance } from '../support/instance.ts'
import { until } from '../support/until.ts'

const TASKS = ['arrivals', 'reader'] as const

const CONFIG = `export default {
  pollers: { arrivals: { source: { table: 'arrival', id: 'id', createdAt: 'at' }, every: '1s' } },
  processors: { reader: { from: 'arrivals', contract: 'transactional', exclusive: true, async handle({ messageId }, { tx }) {
    await tx.query('INSERT INTO effect VALUES ($1)', [messageId])
  } } },
}`

/** `npm run test:long`: the lease as it is by default, and 15 s of sleep. All but 2 s of a lease is trusted. */
const LONG = process.env['TIDEMARK_LONG'] === '1'
const LEASE = LONG ? {} : { LEADER_LEASE_SECONDS: '8', LEADER_HEARTBEAT_SECONDS: '0.5' }
/** At least; it sleeps until the other leads, so for longer than its lease. */
const FROZEN_MS = LONG ? 15_000 : 0
const LOAD_EVERY_MS = 25

/** Promised are a lease and a look of a second; what was measured is printed, and a busy machine is slow. */
const TAKEOVER_MS = 60_000

test('a leader that was frozen wakes to refused writes, says so, counts them and steps back; no row is lost or twice', async (t) => {
  const database = await createDatabase(t)
  const pool = database.pool()
  await pool.query(
    `CREATE TABLE arrival (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp());
     CREATE TABLE effect (message_id text)`,
  )
  const start = () => startInstance(t, { databaseUrl: database.url, config: CONFIG, env: LEASE })
  const first = await start()
  await Promise.all(TASKS.map((task) => first.said('task_started_as_leader', { task })))
  const second = await start()
  await Promise.all(TASKS.map((task) => second.said('task_standby', { task })))
  const load = setInterval(() => void pool.query('INSERT INTO arrival DEFAULT VALUES'), LOAD_EVERY_MS)
  t.after(() => clearInterval(load))
  const effects = async () => (await pool.query('SELECT FROM effect')).rowCount ?? 0
  await until('work to be under way', async () => (await effects()) > 20)

  const frozenAt = first.kill('SIGSTOP')
  const took = await Promise.all(
    TASKS.map((task) => second.said('leader_took_over', { task, from: first.id })),
  )
  const tookMs = Math.max(...took.map(({ at }) => at)) - frozenAt
  t.diagnostic(`the other led after ${tookMs} ms`)
  assert.ok(tookMs < TAKEOVER_MS)
  const atTakeover = await effects()
  await until('the new leader to do the work', async () => (await effects()) > atTakeover)
  await until('the sleep to be over', () => Date.now() - frozenAt >= FROZEN_MS)

  const wokenAt = first.kill('SIGCONT')
  for (const task of TASKS) {
    const refused = await first.said('stale_write_refused', { task })
    const lost = await first.said('leader_lost', { task })
    t.diagnostic(`${task}: "${refused.msg}" ${refused.at - wokenAt} ms after it woke; "${lost.msg}"`)
    assert.ok(refused.at >= wokenAt && lost.at >= wokenAt)
    await first.said('task_standby', { task, leader: second.id })
  }
  for (const task of TASKS) {
    const [newest] = second.of('leader_took_over', { task })
    const [oldest] = first.of('leader_elected', { task })
    assert.ok(Number(newest?.['term']) > Number(oldest?.['term']), 'a higher term')
    assert.equal(first.of('leader_lost', { task }).length, 1, 'said once')
    assert.equal(second.of('leader_took_over', { task }).length, 1)
  }
  clearInterval(load)
  const open = `SELECT count(*) AS n FROM arrival a WHERE NOT EXISTS (SELECT FROM effect e WHERE e.message_id = a.id::text)`
  const number = async (text: string) => Number((await pool.query<{ n: string }>(text)).rows[0]?.n)
  await until('every row to be processed', async () => (await number(open)) === 0, 120_000)
  assert.equal(await number('SELECT count(*) - count(DISTINCT message_id) AS n FROM effect'), 0, 'none twice')
  const leaders = await pool.query<{ instance_id: string }>(
    'SELECT DISTINCT instance_id FROM service_ops.background_task_leader',
  )
  assert.deepEqual(leaders.rows, [{ instance_id: second.id }])
  assert.deepEqual(second.of('stale_write_refused'), [])
})
