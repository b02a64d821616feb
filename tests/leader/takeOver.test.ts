import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { describe, test } from 'node:test'
import type { TestContext } from 'node:test'
import type { Queryable } from '../../src/db/pool.ts'
import { startLeadership } from '../../src/leader/leadership.ts'
import type { Lease } from '../../src/leader/lease.ts'
import { beat } from '../../src/tables/instance.ts'
import { takeOver } from '../../src/tables/leader.ts'
import { recordedLog } from '../db/recordedLog.ts'
import { createDatabase } from '../support/database.ts'
import { until } from '../support/until.ts'

/* What one instance does at the edges of a take-over: with a locked row, a lost answer, a drain that begins meanwhile. */

/** Longer than any test here: nothing becomes free by running out. */
const LEASE_MS = 300_000
const LOCK_TIMEOUT_MS = 200
const SOON_MS = 60_000

/** Called when a lease has been taken over in the database, before the answer arrives; what throws here loses it. */
type Taken = () => Promise<void> | void

async function candidate(t: TestContext, tasks: readonly string[], taken: Taken) {
  const database = await createDatabase(t)
  const sql = database.pool()
  await sql.query(
    `INSERT INTO service_ops.background_task (id, task_name, kind, led, config_hash, release)
     SELECT n, task, 'processor', true, 'x', '1' FROM unnest($1::text[]) WITH ORDINALITY u(task, n)`,
    [tasks],
  )
  const me = { holder: randomUUID(), instanceId: 'me' }
  const facts = { machineId: null, region: null, release: '1', processGroup: null, state: 'ready' } as const
  await beat(sql, { ...me, ...facts, sentinel: false, tasks })
  const own = database.pool({ options: `-c lock_timeout=${LOCK_TIMEOUT_MS}` })
  const db: Queryable = {
    async query<R extends Record<string, unknown>>(text: string, values: readonly unknown[] = []) {
      const result = await own.query<R>(text, [...values])
      if (text.includes('INSERT INTO service_ops.background_task_leader')) await taken()
      return result
    },
  }
  const log = recordedLog()
  const leases: Lease[] = []
  const state = { may: true }
  const start = () => {
    const leaders = startLeadership({
      db,
      me,
      heartbeatMs: 1_000,
      leaseMs: LEASE_MS,
      mayLead: () => state.may,
      log: { event: log.event, child: noChild, close: () => Promise.resolve() },
      tasks: tasks.map((name) => ({
        name,
        async lead(lease) {
          leases.push(lease)
          await new Promise((done) => lease.signal.addEventListener('abort', done, { once: true }))
        },
      })),
    })
    t.after(() => leaders.stop())
    return leaders
  }
  const rows = async () =>
    (
      await sql.query<{ task: string; holder: string; term: string }>(
        'SELECT task_name AS task, holder, term FROM service_ops.background_task_leader ORDER BY 1',
      )
    ).rows
  return { database, sql, me, log, leases, state, start, rows }
}

function noChild(): never {
  throw new Error('leadership makes no child logs')
}

test('a task whose rows are locked keeps no other task without a leader, and is led itself once they are free', async (t) => {
  const { database, sql, start, log } = await candidate(t, ['locked', 'free'], () => undefined)
  // Free to take, but for somebody who holds its row.
  const gone = { holder: randomUUID(), instanceId: 'gone' }
  await takeOver(sql, 'locked', gone, LEASE_MS, undefined)
  await sql.query(`UPDATE service_ops.background_task_leader SET expires_at = 'epoch'`)
  const lock = await database.client()
  await lock.query('BEGIN; SELECT FROM service_ops.leader_term FOR UPDATE')
  const leaders = start()
  const leads = (task: string) => () => leaders.roles().get(task)?.role === 'leader'
  await until('the free one to be led', leads('free'), SOON_MS)
  assert.ok(!leads('locked')())
  const failure = await until('it to be said', () => log.of('loop_failed')[0], SOON_MS)
  assert.deepEqual([failure.loop, failure.task], ['take over', 'locked'])
  await lock.query('COMMIT')
  await until('the other one to be led', leads('locked'), SOON_MS)
})

test('a task whose leader’s lease has run out has no leader, while somebody keeps it from getting another', async (t) => {
  const { database, sql, start, log } = await candidate(t, ['reader'], () => undefined)
  await takeOver(sql, 'reader', { holder: randomUUID(), instanceId: 'gone' }, LEASE_MS, undefined)
  const leaders = start()
  const role = () => leaders.roles().get('reader')
  await until('the other to be known as its leader', () => role()?.role === 'standby', SOON_MS)
  assert.deepEqual(role(), { role: 'standby', leader: 'gone' })
  const lock = await database.client()
  await lock.query('BEGIN; SELECT FROM service_ops.leader_term FOR UPDATE')
  await sql.query(`UPDATE service_ops.background_task_leader SET expires_at = 'epoch'`)
  await until('the first try', () => log.of('loop_failed').length > 0, SOON_MS)
  assert.deepEqual(role(), { role: 'standby', leader: null })
  await lock.query('COMMIT')
  await until('it to be led', () => role()?.role === 'leader', SOON_MS)
})

test('a lease of its own whose answer was lost is replaced at once, under a term that refuses what went before', async (t) => {
  let lost = 0
  const { start, rows, leases, me } = await candidate(t, ['reader'], () => {
    lost += 1
    if (lost === 1) throw new Error('Connection terminated')
  })
  start()
  await until('it to lead', () => leases.length > 0, SOON_MS)
  assert.equal(lost, 2)
  assert.deepEqual(
    leases.map(({ term }) => term),
    ['2'],
  )
  assert.deepEqual(await rows(), [{ task: 'reader', holder: me.holder, term: '2' }])
})

test('a take-over that comes back when a drain has begun is given up again, and nothing runs under it', async (t) => {
  const taken = Promise.withResolvers<undefined>()
  const answer = Promise.withResolvers<undefined>()
  const { start, rows, leases, state } = await candidate(t, ['reader'], async () => {
    taken.resolve(undefined)
    await answer.promise
  })
  const leaders = start()
  await taken.promise
  assert.equal((await rows()).length, 1)
  state.may = false
  await leaders.handOver(['reader'])
  answer.resolve(undefined)
  await until('the lease to be given up', async () => (await rows()).length === 0, SOON_MS)
  await leaders.stop()
  assert.deepEqual(leases, [])
})

describe('when leader_term was lost, terms go on above the newest that is remembered', () => {
  const TASK = 'reader'
  const forgets: Readonly<Record<string, string>> = {
    'by the leader itself': 'UPDATE service_ops.background_task_leader SET term = 41',
    'by the watermark': 'UPDATE service_ops.integration_poll_watermark SET term = 41',
    'by a change of leadership': 'UPDATE service_ops.leader_change SET term = 41',
    'by the ledger of passes': `INSERT INTO service_ops.poll_run (poller, due_at, started_at, outcome, term, instance_id)
                                VALUES ('${TASK}', now(), now(), 'ran', 41, 'gone')`,
  }
  for (const [where, remembered] of Object.entries(forgets)) {
    test(where, async (t) => {
      const { sql } = await candidate(t, [TASK], () => undefined)
      await sql.query(`UPDATE service_ops.background_task SET kind = 'poller'`)
      const gone = { holder: randomUUID(), instanceId: 'gone' }
      const first = await takeOver(sql, TASK, gone, LEASE_MS, undefined)
      assert.equal(first?.term, '1')
      await sql.query(`${remembered}; TRUNCATE service_ops.leader_term;
                       UPDATE service_ops.background_task_leader SET expires_at = 'epoch'`)
      const others = ['one', 'two'].map((instanceId) => ({ holder: randomUUID(), instanceId }))
      const won = await Promise.all(others.map((one) => takeOver(sql, TASK, one, LEASE_MS, undefined)))
      const terms = won.flatMap((leadership) => leadership?.term ?? [])
      // The elector that lost has drawn a term, too, and may have drawn the first.
      assert.ok(terms.length === 1 && ['42', '43'].includes(terms[0] ?? ''), terms.join())
      const { rows } = await sql.query('SELECT term FROM service_ops.leader_term')
      assert.deepEqual(rows, [{ term: '43' }])
    })
  }
})
