import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { readNumbers } from '../../src/tables/metrics.ts'
import { createDatabase } from '../support/database.ts'

/** Two sources with a processor that lives, and one of a processor that nobody has any more. */
async function world(t: TestContext) {
  const database = await createDatabase(t)
  const sql = database.pool()
  await sql.query(`
    INSERT INTO service_ops.background_task (id, task_name, kind, led, config_hash, release, sources) VALUES
      (1, 'packer', 'processor', false, '', '1', '{orders,mail}'), (2, 'removed', 'processor', false, '', '1', '{gone}');
    INSERT INTO service_ops.runner_instance (instance_id, holder, release, state, tasks, last_seen_at) VALUES
      ('alive', gen_random_uuid(), 'green', 'ready', '{packer}', now()),
      ('silent', gen_random_uuid(), 'blue', 'ready', '{removed}', now() - interval '1 minute'),
      ('left', gen_random_uuid(), 'blue', 'stopped', '{removed}', now() - interval '1 minute')`)
  let n = 0
  const insert = async (columns: Record<string, unknown>, count = 1): Promise<void> => {
    const all = { source: 'orders', trace_id: 't', ...columns }
    const names = Object.keys(all)
    for (let i = 0; i < count; i += 1) {
      n += 1
      await sql.query(
        `INSERT INTO service_ops.integration_inbox (message_id, ${names.join(', ')}) VALUES ($1, ${names.map((_, at) => `$${at + 2}`).join(', ')})`,
        [`m${n}`, ...Object.values(all)],
      )
    }
  }
  const ago = (minutes: number): Date => new Date(Date.now() - minutes * 60_000)
  const numbers = (keys = 20) =>
    readNumbers(sql, { stuckAfterS: new Map([['orders', 120]]), otherStuckAfterS: 600, keys })
  return { sql, insert, ago, numbers }
}

test('what is open is counted by source and status, and sources that no living instance has are left out', async (t) => {
  const { insert, ago, numbers } = await world(t)
  await insert({ status: 'NEW' }, 2)
  await insert({ status: 'FAILED', next_attempt_at: ago(-5), created_at: ago(7) })
  await insert({ status: 'DEAD', next_attempt_at: 'infinity', created_at: ago(90) })
  await insert({ status: 'DONE', processed_at: ago(1) })
  await insert({ status: 'NEW', source: 'gone' })
  const { depths, sources, instances } = await numbers()
  const counts = depths.map(({ source, status, messages }) => `${source} ${status} ${messages}`).sort()
  assert.deepEqual(counts, [
    'mail DEAD 0',
    'mail FAILED 0',
    'mail NEW 0',
    'mail PROCESSING 0',
    'orders DEAD 1',
    'orders FAILED 1',
    'orders NEW 2',
    'orders PROCESSING 0',
  ])
  const orders = sources.find(({ source }) => source === 'orders')
  assert.ok(
    Math.abs((orders?.oldest_s ?? 0) - 7 * 60) < 30,
    `the oldest that is not DEAD: ${orders?.oldest_s}`,
  )
  assert.equal(sources.find(({ source }) => source === 'mail')?.oldest_s, 0)
  assert.deepEqual(
    instances.map(({ state, release, instances: count }) => `${release} ${state} ${count}`).sort(),
    ['blue lost 1', 'green ready 1'],
  )
})

test('overdue is what came in between one and two hours ago and is not finished', async (t) => {
  const { insert, ago, numbers } = await world(t)
  await insert({ status: 'NEW', created_at: ago(59) })
  await insert({ status: 'NEW', created_at: ago(61) })
  await insert({ status: 'DEAD', next_attempt_at: 'infinity', created_at: ago(119) })
  await insert({ status: 'FAILED', next_attempt_at: ago(-1), created_at: ago(121) })
  await insert({ status: 'DONE', processed_at: ago(1), created_at: ago(90) })
  assert.equal((await numbers()).sources.find(({ source }) => source === 'orders')?.overdue, 2)
})

test('stuck is what an instance has that is gone, or has for longer than its handler may take', async (t) => {
  const { insert, ago, numbers } = await world(t)
  const inWork = (owner: string, minutes: number, source = 'orders') =>
    insert({ status: 'PROCESSING', source, locked_by: owner, locked_at: ago(minutes), claim: 1 })
  await inWork('alive', 1)
  await inWork('alive', 3) // above its limit of two minutes
  await inWork('silent', 0)
  await inWork('left', 0)
  await inWork('nobody knows', 0)
  await inWork('alive', 9, 'mail') // below that of other sources
  await inWork('alive', 11, 'mail')
  await insert({ status: 'PROCESSING', locked_by: 'alive', claim: 1 }) // claimed ahead a moment ago
  const stuck = (await numbers()).sources.map(({ source, stuck: count }) => `${source} ${count}`).sort()
  assert.deepEqual(stuck, ['mail 1', 'orders 4'])
})

test('slots in use are told by key where the source has slots: the busiest by name, the others together', async (t) => {
  const { sql, insert, ago, numbers } = await world(t)
  await sql.query(
    `INSERT INTO service_ops.slot_limit (source, group_key, default_slots) VALUES ('orders', '*', 5)`,
  )
  const inWork = (group: string | null, count: number, source = 'orders') =>
    insert(
      { status: 'PROCESSING', source, group_key: group, locked_by: 'alive', locked_at: ago(0), claim: 1 },
      count,
    )
  await inWork('a', 3)
  await inWork('b', 2)
  await inWork('c', 1)
  await inWork('other', 1)
  await inWork(null, 1)
  await inWork('a', 4, 'mail')
  await insert({ status: 'NEW', group_key: 'a' }, 2)
  const slots = (await numbers(2)).slots
    .map((slot) => `${slot.source} ${slot.group_key} ${slot.messages}`)
    .sort()
  assert.deepEqual(slots, ['orders a 3', 'orders b 2', 'orders other 2'])
})
