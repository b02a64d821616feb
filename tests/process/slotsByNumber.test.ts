import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Pool } from 'pg'
import { until } from '../support/until.ts'
import { SOURCE } from './fixture.ts'
import { held, keyed, numbered } from './keyed.ts'

const linedUp = async (sql: Pool): Promise<number> =>
  (await sql.query('SELECT FROM service_ops.integration_inbox WHERE next_attempt_at IS NOT NULL')).rowCount ??
  0

describe('messages of a source with slots that come in while it has them', () => {
  for (const choices of [{ ordered: true }, { slots: { perKey: 2 } }])
    test(`are not lined up as long as their keys have room: ${JSON.stringify(choices)}`, async (t) => {
      const { url, send, sql, become } = await keyed(t)
      const one = held(t, url, choices)
      one.processor.start()
      await until('the source has slots', async () => (await defaultRow(sql)).rowCount === 1)
      await send('a', ['a1'], { undated: true })
      await send('b', ['b1'], { undated: true })
      await until('both', () => one.open.size === 2)
      assert.equal(await linedUp(sql), 0)
      for (const id of ['a1', 'b1']) one.end(id)
      await become({ a1: 'DONE 1', b1: 'DONE 1' })
      assert.equal(await linedUp(sql), 0)
    })

  for (const choices of [{ ordered: true }, { slots: { perKey: 1 } }])
    test(`do not hold up other keys when theirs is full: ${JSON.stringify(choices)}`, async (t) => {
      const { url, send, sql, become } = await keyed(t)
      const one = held(t, url, choices)
      one.processor.start()
      await until('the source has slots', async () => (await defaultRow(sql)).rowCount === 1)
      await send('a', numbered('a', 1_000), { undated: true, at: '2026-01-01' })
      await send('b', ['last'], { undated: true, at: '2026-01-02' })
      await until('the one behind them', () => one.open.has('last'))
      assert.equal(one.open.size, 2)
      assert.ok((await linedUp(sql)) > 0)
      one.end('last')
      await become({ last: 'DONE 1' })
    })

  test('count as in work when the row of their key is made again', async (t) => {
    const { url, send, sql } = await keyed(t)
    const one = held(t, url, { slots: { perKey: 1 } })
    one.processor.start()
    await until('the source has slots', async () => (await defaultRow(sql)).rowCount === 1)
    await send('a', ['a1'], { undated: true })
    await until('the first', () => one.open.has('a1'))
    await sql.query(`DELETE FROM service_ops.slot_limit WHERE group_key = 'a'`)
    await send('a', ['a2'], { undated: true })
    const inUse = `SELECT FROM service_ops.slot_status WHERE group_key = 'a' AND in_use = 1 AND waiting = 1`
    await until('the row is there again', async () => (await sql.query(inUse)).rowCount === 1)
    assert.deepEqual(one.begun, ['a1'])
    one.end('a1')
    await until('the second', () => one.open.has('a2'))
    one.end('a2')
  })
})

test('stay as they are while their source is paused, however many there are', async (t) => {
  const { url, send, sql } = await keyed(t)
  const one = held(t, url, { slots: { perKey: 1 } })
  one.processor.start()
  await until('the source has slots', async () => (await defaultRow(sql)).rowCount === 1)
  await sql.query(`UPDATE service_ops.slot_limit SET paused = true WHERE group_key = '*'`)
  await send(null, numbered('n', 500), { undated: true })
  await send('a', numbered('a', 500), { undated: true })
  const looks = one.processor.state.lastClaimAt ?? 0
  await until('many looks', () => {
    one.processor.wake()
    return (one.processor.state.lastClaimAt ?? 0) > looks + 1_000
  })
  assert.equal(await linedUp(sql), 0)
  assert.equal(one.begun.length, 0)
})

test('what is committed late is found, however quiet the other sources of its processor are', async (t) => {
  const { url, send, sql, become } = await keyed(t)
  const one = held(t, url, { from: ['quiet', SOURCE], slots: { perKey: 2 } }, 'one', () => true)
  one.processor.start()
  await until('the sources have slots', async () => (await defaultRow(sql)).rowCount === 2)
  const late = await sql.connect()
  try {
    await late.query('BEGIN')
    await late.query(
      `INSERT INTO service_ops.integration_inbox (source, message_id, group_key, payload, trace_id) VALUES ($1, 'late', 'b', '{}', 'x')`,
      [SOURCE],
    )
    await send('a', ['a1'], { undated: true })
    await become({ a1: 'DONE 1' })
    await late.query('COMMIT')
  } finally {
    late.release()
  }
  await become({ late: 'DONE 1' })
})

describe('order between what is lined up and what is not', () => {
  test('is that of the source, whichever of the two comes first', async (t) => {
    const { url, send, sql, become } = await keyed(t)
    const one = held(t, url, { ordered: true })
    one.processor.start()
    await until('the source has slots', async () => (await defaultRow(sql)).rowCount === 1)
    await sql.query(
      `INSERT INTO service_ops.slot_limit (source, group_key, paused) SELECT $1, unnest('{a,b}'::text[]), true`,
      [SOURCE],
    )
    await send('a', ['a2'], { at: '2026-01-02', undated: true })
    await send('a', ['a1'], { at: '2026-01-01' })
    await send('b', ['b1'], { at: '2026-01-02', undated: true })
    await send('b', ['b2'], { at: '2026-01-03' })
    await sql.query(`UPDATE service_ops.slot_limit SET paused = false`)
    await until('the first of both', () => one.open.size === 2)
    assert.deepEqual([...one.begun].sort(), ['a1', 'b1'])
    for (const id of ['a1', 'b1']) one.end(id)
    await until('the second of both', () => one.begun.length === 4)
    for (const id of ['a2', 'b2']) one.end(id)
    await become({ a1: 'DONE 1', a2: 'DONE 1', b1: 'DONE 1', b2: 'DONE 1' })
  })
})

test('all that comes in is lined up while an instance lives that finds nothing by number, or nobody has looked yet', async (t) => {
  const { sql } = await keyed(t)
  const how = async (): Promise<unknown> =>
    (await sql.query<{ up: unknown }>('SELECT service_ops.lined_up($1) AS up', [SOURCE])).rows[0]?.up
  assert.equal(await how(), null)
  await sql.query(`INSERT INTO service_ops.slot_limit (source, group_key) VALUES ($1, '*')`, [SOURCE])
  assert.equal(await how(), 'all')
  await sql.query(`UPDATE service_ops.slot_limit SET by_number_above = 0`)
  assert.equal(await how(), 'none')
  await sql.query(`UPDATE service_ops.slot_limit SET ordered = true`)
  assert.equal(await how(), 'late')
  await sql.query(`INSERT INTO service_ops.runner_instance (instance_id, holder, release, state)
                   VALUES ('old', gen_random_uuid(), '0.1.0', 'ready')`)
  assert.equal(await how(), 'all')
})

const defaultRow = (sql: Pool) =>
  sql.query(`SELECT FROM service_ops.slot_limit WHERE group_key = '*' AND by_number_above IS NOT NULL`)
