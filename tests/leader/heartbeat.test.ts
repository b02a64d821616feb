import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import type { Queryable } from '../../src/db/pool.ts'
import { startPresence } from '../../src/leader/presence.ts'
import type { PresenceOptions } from '../../src/leader/presence.ts'
import { beat } from '../../src/tables/instance.ts'
import type { InstanceRecord } from '../../src/tables/instance.ts'
import { takeSentinel } from '../../src/tables/leader.ts'
import { createDatabase } from '../support/database.ts'
import { until } from '../support/until.ts'

/* What one heartbeat asks in one statement, and what becomes of its parts when that cannot be answered. */

function record(instanceId: string, sentinel = false): InstanceRecord {
  return {
    ...{ instanceId, holder: randomUUID(), machineId: null, region: null, release: '1' },
    ...{ processGroup: null, sentinel, tasks: [], state: 'ready' },
  }
}

async function world(t: TestContext) {
  const database = await createDatabase(t)
  const sql = database.pool()
  // As the reserved pool has it: a wait for somebody's lock ends soon.
  const own = database.programPool()
  const texts: string[] = []
  const db: Queryable = {
    async query<R extends Record<string, unknown>>(text: string, values: readonly unknown[] = []) {
      texts.push(text)
      const client = await own.connect()
      try {
        await client.query(`SET lock_timeout = '200ms'`)
        return await client.query<R>(text, [...values])
      } finally {
        client.release()
      }
    },
  }
  const me = record('me', true)
  const start = (options: Partial<PresenceOptions> = {}) => {
    const presence = startPresence({
      db,
      record: () => me,
      heartbeatMs: 20,
      leaseMs: 1_000,
      onGone: async () => true,
      onError: () => undefined,
      ...options,
    })
    t.after(() => presence.stop())
    return presence
  }
  const lastSeen = async (instanceId: string): Promise<string | undefined> => {
    const { rows } = await sql.query<{ at: string }>(
      'SELECT last_seen_at::text AS at FROM service_ops.runner_instance WHERE instance_id = $1',
      [instanceId],
    )
    return rows[0]?.at
  }
  return { database, sql, texts, me, start, lastSeen }
}

test('one statement is the heartbeat, the look at the others, at what is paused and at our own sentinel', async (t) => {
  const { database, sql, texts, me, start, lastSeen } = await world(t)
  await sql.query(`
    INSERT INTO service_ops.background_task (id, task_name, kind, led, config_hash, release, paused)
    VALUES (1, 'still', 'poller', true, '', '1', true), (2, 'going', 'job', false, '', '1', false)`)
  await beat(sql, record('silent'))
  const learned: { paused: string[]; sentinelHeld: boolean }[] = []
  const gone: string[] = []
  start({
    onLearned: ({ paused, sentinelHeld }) => void learned.push({ paused: [...paused.keys()], sentinelHeld }),
    onGone: async (instanceId) => gone.push(instanceId) > 0,
  })
  await until('heartbeats', () => learned.length > 2)
  assert.deepEqual(learned[0], { paused: ['still'], sentinelHeld: false })
  await takeSentinel(await database.client(), me.holder)
  await until('the sentinel to be seen', () => learned.at(-1)?.sentinelHeld === true)
  assert.notEqual(await lastSeen('me'), undefined)
  await until('the silent one to be judged', () => gone.length > 0)
  assert.deepEqual(gone, ['silent'])
  const looks = texts.filter((text) => text.includes('pg_locks'))
  assert.ok(
    looks.every((text) => text.includes('INSERT') && text.includes('background_task')),
    'nothing was looked at by a statement of its own',
  )
})

test('a lock on what is paused keeps no instance from its heartbeat, nor from seeing who is gone', async (t) => {
  const { database, sql, texts, start, lastSeen } = await world(t)
  await beat(sql, record('silent'))
  const gone: string[] = []
  const failed: string[] = []
  const person = await database.client()
  await person.query('BEGIN; LOCK TABLE service_ops.background_task')
  start({
    onGone: async (instanceId) => gone.push(instanceId) > 0,
    onError: (what) => void failed.push(what),
  })
  for (let beats = 0, before: string | undefined; beats < 10; beats += 1)
    before = await until('the next heartbeat', async () => {
      const now = await lastSeen('me')
      return now !== before && now
    })
  await until('the silent one to be judged', () => gone.length > 0)
  const joint = texts.filter((text) => text.includes('INSERT') && text.includes('background_task'))
  assert.ok(joint.length < 5, 'and what waits for the lock is not tried at each of them')
  assert.deepEqual(failed, [])
  await person.query('ROLLBACK')
})

test('a lock on our own record keeps us from the heartbeat alone: the others are seen, and it is said', async (t) => {
  const { database, sql, me, start } = await world(t)
  await beat(sql, me)
  await beat(sql, record('silent'))
  const gone: string[] = []
  const failed: string[] = []
  const person = await database.client()
  await person.query(`BEGIN; SELECT FROM service_ops.runner_instance WHERE instance_id = 'me' FOR UPDATE`)
  start({
    onGone: async (instanceId) => gone.push(instanceId) > 0,
    onError: (what) => void failed.push(what),
  })
  await until('the silent one to be judged', () => gone.length > 0)
  assert.deepEqual([...new Set(failed)], ['beat'])
  await person.query('ROLLBACK')
})

test('a look that failed makes what was seen before count for nothing', async (t) => {
  const { database, sql, start } = await world(t)
  await beat(sql, record('silent'))
  const leaseMs = 5_000
  const failures: number[] = []
  const gone: number[] = []
  let looks = 0
  start({
    leaseMs,
    onLearned: () => void (looks += 1),
    onGone: async () => gone.push(performance.now()) > 0,
    onError(what) {
      if (what === 'watch') failures.push(performance.now())
    },
  })
  await until('it to be seen', () => looks > 0)
  const seenAt = performance.now()
  const person = await database.client()
  await person.query('BEGIN; LOCK TABLE service_ops.runner_instance')
  await until('looks in vain for a while', () => (failures.at(-1) ?? 0) - seenAt > leaseMs / 2)
  await person.query('ROLLBACK')
  await until('it to be judged', () => gone.length > 0)
  assert.ok((gone[0] ?? 0) - (failures.at(-1) ?? 0) >= leaseMs, 'a lease after the failure at the soonest')
})
