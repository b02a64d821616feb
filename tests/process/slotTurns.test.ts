import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Pool } from 'pg'
import type { Scope } from '../support/scope.ts'
import { until } from '../support/until.ts'
import { SOURCE } from './fixture.ts'
import type { Choices } from './fixture.ts'
import { held, keyed, numbered } from './keyed.ts'

describe('a key that always has something due gives way to the others', () => {
  const cases: readonly (readonly [string, Choices])[] = [
    ['with as many slots as a claim has places', { slots: { perKey: 2 }, concurrency: 2 }],
    ['with more slots than that', { slots: { perKey: 10 }, concurrency: 2 }],
    ['in order, with one place', { ordered: true, concurrency: 1 }],
  ]
  for (const [what, choices] of cases)
    test(what, async (t) => {
      const { url, send } = await keyed(t)
      await send('hot', numbered('hot', 300))
      await send('hot too', numbered('too', 300))
      await send('last', ['last'])
      const one = held(t, url, choices, 'one', () => true)
      one.processor.start()
      await until('the message of the last key', () => one.begun.includes('last'))
      const before = one.begun.indexOf('last')
      assert.ok(before <= 40, `${before} messages of the others began before it`)
    })
})

/** Locks rows until it is let go, as a person does who has not committed. */
async function lockRows(t: Scope, sql: Pool, text: string): Promise<() => Promise<void>> {
  const client = await sql.connect()
  let open = true
  const letGo = async (): Promise<void> => {
    if (open) await client.query('ROLLBACK')
    if (open) client.release()
    open = false
  }
  t.after(letGo)
  await client.query('BEGIN')
  await client.query(text)
  return letGo
}

/** How often this database commits. */
async function commits(sql: Pool): Promise<number> {
  const { rows } = await sql.query<{ n: string }>(
    'SELECT xact_commit AS n FROM pg_stat_database WHERE datname = current_database()',
  )
  return Number(rows[0]?.n)
}

describe('a key that looks claimable and is not holds up nobody', () => {
  const cases: readonly (readonly [string, string])[] = [
    [
      'whose limit a person is changing',
      `UPDATE service_ops.slot_limit SET max_slots = 5 WHERE group_key = 'a'`,
    ],
    [
      'whose first message somebody has locked',
      `SELECT FROM service_ops.integration_inbox WHERE message_id = 'a2' FOR UPDATE`,
    ],
  ]
  for (const [what, text] of cases)
    test(what, async (t) => {
      const { url, send, sql, become } = await keyed(t)
      await send('a', ['a1'])
      const one = held(t, url, { slots: { perKey: 1 }, concurrency: 1 }, 'one', () => true)
      one.processor.start()
      await become({ a1: 'DONE 1' })
      await one.processor.drain(0)
      await one.processor.stop()
      await send('a', ['a2'])
      await send('b', ['b1'])
      const letGo = await lockRows(t, sql, text)
      const two = held(t, url, { slots: { perKey: 1 }, concurrency: 1 }, 'two', () => true)
      two.processor.start()
      await become({ b1: 'DONE 1' })
      assert.deepEqual(two.begun, ['b1'])
      const from = { at: performance.now(), commits: await commits(sql) }
      await until('some seconds of it', () => performance.now() - from.at > 3_000)
      const perSecond = ((await commits(sql)) - from.commits) / ((performance.now() - from.at) / 1000)
      assert.ok(perSecond < 100, `it asks ${Math.round(perSecond)} times a second for what it cannot get`)
      await letGo()
      await become({ a2: 'DONE 1' })
    })

  test('whose first message came in late, while a later one is in work', async (t) => {
    const { url, send, become } = await keyed(t)
    await send('a', ['later'], { at: '2026-01-02' })
    const one = held(t, url, { ordered: true, concurrency: 2 })
    one.processor.start()
    await until('the later one', () => one.open.has('later'))
    await send('a', ['late'], { at: '2026-01-01' })
    await send('b', ['b1'])
    await until('another key', () => one.open.has('b1'))
    one.end('b1')
    await become({ b1: 'DONE 1' })
    assert.deepEqual(one.begun, ['later', 'b1'])
    one.end('later')
    await until('the late one', () => one.open.has('late'))
    one.end('late')
    await become({ late: 'DONE 1' })
  })
})

test('the default row is deleted: nothing is claimed without a limit, and the row is made again', async (t) => {
  const { url, send, sql, become } = await keyed(t)
  await send('a', ['a1'])
  const one = held(t, url, { slots: { perKey: 1 } })
  one.processor.start()
  await until('the first', () => one.open.has('a1'))
  await sql.query(
    `WITH d AS (DELETE FROM service_ops.slot_limit WHERE group_key = '*')
     INSERT INTO service_ops.integration_inbox (source, message_id, group_key, payload, trace_id, next_attempt_at)
     SELECT $1, 'b' || n, 'a', '{}', 'x', now() FROM generate_series(1, 8) n`,
    [SOURCE],
  )
  const remade = async (): Promise<boolean> =>
    (await sql.query(`SELECT FROM service_ops.slot_limit WHERE group_key = '*'`)).rowCount === 1
  await until('the row', remade)
  await send('c', ['c1'])
  await until('a claim after that', () => one.open.has('c1'))
  assert.deepEqual(one.begun, ['a1', 'c1'])
  one.end('a1')
  await until('the next', () => one.begun.length === 3)
  for (const id of one.open.keys()) one.end(id)
  await become({ a1: 'DONE 1', c1: 'DONE 1' })
})
