import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { describe, test } from 'node:test'
import type { TestContext } from 'node:test'
import type { Client } from 'pg'
import { startLeadership } from '../../src/leader/leadership.ts'
import type { Leaders } from '../../src/leader/leadership.ts'
import type { Lease } from '../../src/leader/lease.ts'
import { beat } from '../../src/tables/instance.ts'
import { renewLeases, takeOver, takeSentinel } from '../../src/tables/leader.ts'
import { recordedLog } from '../db/recordedLog.ts'
import type { RecordedLog } from '../db/recordedLog.ts'
import { createDatabase } from '../support/database.ts'
import { until } from '../support/until.ts'

const TASK = 'arrivals'
/** It is trusted for 6 s: no stand-still of a busy machine may cost a lease here, since terms are counted. */
const LEASE_MS = 8_000

interface Member {
  readonly instanceId: string
  readonly holder: string
  readonly leaders: Leaders
  readonly log: RecordedLog
  /** Every lease that it was given, in order. */
  readonly leases: Lease[]
  readonly sentinel: Client
  may: boolean
}

/** A term, and who has acted under it. */
interface Act {
  readonly term: string
  readonly holder: string
  /** The newest term that was known to have acted when this act was sent: its answer may have been overtaken. */
  readonly sentAfter: number
}

async function cluster(t: TestContext) {
  const database = await createDatabase(t)
  const sql = database.pool()
  await sql.query(
    `INSERT INTO service_ops.background_task (id, task_name, kind, led, config_hash, release) VALUES (1, '${TASK}', 'poller', true, 'x', '1')`,
  )
  const acts: Act[] = []
  let newest = 0
  const members: Member[] = []
  return {
    sql,
    acts,
    members,
    /** A member whose work under a lease is to write down, as often as it can, that it believes to lead. */
    join: async (name: string): Promise<Member> => {
      const me = { holder: randomUUID(), instanceId: name }
      const pool = database.programPool({ max: 2 })
      const sentinel = await database.client()
      await takeSentinel(sentinel, me.holder)
      const facts = {
        machineId: null,
        region: null,
        release: '1',
        processGroup: null,
        sentinel: true,
        tasks: [TASK],
      }
      await beat(pool, { ...me, ...facts, state: 'ready' })
      const leases: Lease[] = []
      const log = recordedLog()
      const member: Member = {
        ...me,
        log,
        leases,
        sentinel,
        may: true,
        leaders: startLeadership({
          db: pool,
          me,
          heartbeatMs: 200,
          leaseMs: LEASE_MS,
          mayLead: () => member.may,
          log: { event: (...line) => log.event(...line), child: noChild, close: () => Promise.resolve() },
          tasks: [
            {
              name: TASK,
              async lead(lease) {
                leases.push(lease)
                const over = (): boolean => lease.signal.aborted
                while (!over()) {
                  const sentAfter = newest
                  // What a fenced write does: it only takes place under the lease that the row names.
                  const { rowCount } = await sql.query(
                    `SELECT FROM service_ops.background_task_leader WHERE task_name = $1 AND holder = $2 AND term = $3`,
                    [TASK, lease.holder, lease.term],
                  )
                  if (rowCount === 1) {
                    acts.push({ term: lease.term, holder: lease.holder, sentAfter })
                    newest = Math.max(newest, Number(lease.term))
                  } else if (!over()) lease.refused('a test')
                }
              },
            },
          ],
        }),
      }
      members.push(member)
      t.after(() => member.leaders.stop())
      return member
    },
    leader: async (): Promise<string | undefined> => {
      const { rows } = await sql.query<{ instance_id: string }>(
        'SELECT instance_id FROM service_ops.background_task_leader WHERE expires_at > clock_timestamp()',
      )
      return rows[0]?.instance_id
    },
    /** Each term had one holder; and nothing was done under a term once a newer one had acted. */
    oneHolderATerm: (): void => {
      const holders = new Map<string, string>()
      for (const { term, holder, sentAfter } of acts) {
        assert.equal(holders.get(term) ?? holder, holder, `two holders of term ${term}`)
        holders.set(term, holder)
        assert.ok(Number(term) >= sentAfter, 'an older term acted after a newer one')
      }
    },
  }
}

function noChild(): never {
  throw new Error('leadership makes no child logs')
}

const leads = (member: Member): boolean => member.leaders.roles().get(TASK)?.role === 'leader'

describe('of three that could lead', () => {
  test('one does; handed over again and again, no term ever has two holders and every hand-over is quick', async (t) => {
    const { join, members, leader, oneHolderATerm, sql } = await cluster(t)
    await Promise.all([join('a'), join('b'), join('c')])
    const gaps: number[] = []
    for (let round = 0; round < 12; round += 1) {
      const now = await until('a leader', () => members.find(leads))
      assert.equal(members.filter(leads).length, 1)
      assert.equal(await leader(), now.instanceId)
      now.may = false
      const from = performance.now()
      await now.leaders.handOver([TASK])
      assert.ok(now.leases.at(-1)?.signal.aborted, 'its work has ended')
      // In the program NOTIFY does this.
      for (const member of members) member.leaders.wake()
      await until('the next leader', () => members.find((member) => member !== now && leads(member)))
      gaps.push(Math.round(performance.now() - from))
      now.may = true
    }
    oneHolderATerm()
    t.diagnostic(`hand-overs took ${gaps.join(', ')} ms`)
    // Sooner than the lease would have run out.
    assert.ok(Math.max(...gaps) < 7_000)
    const { rows } = await sql.query<{ reason: string; n: number }>(
      'SELECT reason, count(*)::int AS n FROM service_ops.leader_change GROUP BY 1 ORDER BY 1',
    )
    assert.deepEqual(rows, [
      { reason: 'elected', n: 1 },
      { reason: 'handed_over', n: 12 },
    ])
    assert.deepEqual(
      members.map(({ leaders }) => leaders.staleWrites),
      [0, 0, 0],
    )
  })

  test('another takes over when the sentinel of the leader falls, and the old one steps back', async (t) => {
    const { join, members, oneHolderATerm } = await cluster(t)
    await Promise.all([join('a'), join('b'), join('c')])
    for (let round = 0; round < 3; round += 1) {
      const now = await until('a leader', () => members.find(leads))
      // Its process lives on: a broken connection of the sentinel alone looks like death from outside.
      await now.sentinel.query('SELECT pg_advisory_unlock_all()')
      now.may = false
      const next = await until('another', () => members.find((member) => member !== now && leads(member)))
      const [took] = next.log.of('leader_took_over').slice(-1)
      assert.equal(took?.from, now.instanceId)
      await until('the old one to notice', () => now.leases.at(-1)?.signal.aborted)
      await takeSentinel(now.sentinel, now.holder)
      now.may = true
    }
    oneHolderATerm()
  })

  test('the leader that finds its row gone stops its work, and somebody leads under a higher term', async (t) => {
    const { join, members, sql, oneHolderATerm } = await cluster(t)
    await Promise.all([join('a'), join('b'), join('c')])
    const first = await until('a leader', () => members.find(leads))
    const [lease] = first.leases
    await sql.query('DELETE FROM service_ops.background_task_leader')
    await until('the work to end', () => lease?.signal.aborted)
    const next = await until('a leader', () =>
      members.find((member) => leads(member) && member.leases.at(-1) !== lease),
    )
    assert.ok(Number(next.leases.at(-1)?.term) > Number(lease?.term))
    oneHolderATerm()
  })

  test('a leader that cannot renew stops by itself before its lease is over', async (t) => {
    const { join, members, sql } = await cluster(t)
    const only = await join('a')
    await until('it to lead', () => leads(only))
    // Renewals wait for this lock until they fail; they are single statements and nothing else stops.
    const lock = await sql.connect()
    await lock.query('BEGIN; LOCK TABLE service_ops.background_task_leader IN SHARE MODE')
    const { rows } = await sql.query<{ left: number }>(
      'SELECT extract(epoch FROM expires_at - clock_timestamp()) * 1000 AS left FROM service_ops.background_task_leader',
    )
    const from = performance.now()
    await until('its work to end', () => only.leases[0]?.signal.aborted)
    const afterMs = performance.now() - from
    await lock.query('ROLLBACK')
    lock.release()
    assert.ok(
      afterMs < Number(rows[0]?.left),
      `it stopped after ${afterMs} ms, with ${String(rows[0]?.left)} ms left`,
    )
    assert.equal(only.log.of('leader_lost')[0]?.reason, 'not renewed in time')
    await until('it to lead again', () => members.some(leads))
  })
})

describe('a lease whose row is locked by somebody', () => {
  test('is not renewed then, and is neither lost nor costs the other leases', async (t) => {
    const { sql, join } = await cluster(t)
    const only = await join('a')
    await until('it to lead', () => leads(only))
    const other = await takeOver(sql, 'other', only, LEASE_MS, undefined)
    assert.ok(other !== undefined)
    const lock = await sql.connect()
    try {
      await lock.query('BEGIN')
      await lock.query('SELECT FROM service_ops.background_task_leader WHERE task_name = $1 FOR UPDATE', [
        TASK,
      ])
      const leases = [
        { task: TASK, term: only.leases[0]?.term ?? '' },
        { task: 'other', term: other.term },
        { task: 'lost', term: '1' },
      ]
      const renewed = await renewLeases(sql, leases, only.holder, LEASE_MS)
      assert.deepEqual(Object.fromEntries(renewed), { [TASK]: 'locked', other: 'renewed' })
      const passed = `SELECT FROM service_ops.background_task_leader WHERE task_name = $1 AND clock_timestamp() > renewed_at + interval '300 ms'`
      await until('heartbeats to pass', async () => (await sql.query(passed, [TASK])).rowCount === 1)
    } finally {
      await lock.query('ROLLBACK')
      lock.release()
    }
    const fresh = `SELECT FROM service_ops.background_task_leader WHERE task_name = $1 AND clock_timestamp() < renewed_at + interval '200 ms'`
    await until('it to be renewed', async () => (await sql.query(fresh, [TASK])).rowCount === 1)
    assert.deepEqual([only.leases.length, only.log.of('leader_lost')], [1, []])
  })
})

describe('evidence of death', () => {
  test('is bound to holder and term: of two with the same evidence one takes over, and it does not oust that one', async (t) => {
    const { sql } = await cluster(t)
    const [dead, a, b] = ['dead', 'a', 'b'].map((instanceId) => ({ holder: randomUUID(), instanceId }))
    assert.ok(dead !== undefined && a !== undefined && b !== undefined)
    const first = await takeOver(sql, TASK, dead, 60_000, undefined)
    assert.ok(first !== undefined)
    const evidence = { holder: dead.holder, term: first.term }
    assert.equal(
      await takeOver(sql, TASK, a, 60_000, undefined),
      undefined,
      'a lease that holds is respected',
    )
    const won = await Promise.all([a, b].map((one) => takeOver(sql, TASK, one, 60_000, evidence)))
    assert.equal(won.filter((one) => one !== undefined).length, 1)
    const winner = won[0] === undefined ? b : a
    assert.equal(await takeOver(sql, TASK, winner === a ? b : a, 60_000, evidence), undefined)
    // The same holder under a later term is not the dead one: a process may lead again.
    const again = { holder: winner.holder, term: first.term }
    assert.equal(await takeOver(sql, TASK, dead, 60_000, again), undefined)
    const renewed = await renewLeases(sql, [{ task: TASK, term: first.term }], dead.holder, 60_000)
    assert.deepEqual([...renewed], [], 'the old term is over')
  })
})
