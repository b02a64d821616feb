import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { takeMessages } from '../../src/tables/intake.ts'
import { until } from '../support/until.ts'
import { SOURCE } from './fixture.ts'
import { held, keyed, numbered } from './keyed.ts'

describe('messages from before their source had slots or order', () => {
  test('the first of a key begins first, however long the backlog is before it is lined up', async (t) => {
    const { url, send, sql, become } = await keyed(t)
    await sql.query(`INSERT INTO service_ops.slot_limit (source, group_key) VALUES ($1, 'a')`, [SOURCE])
    await send('b', numbered('b', 2_500), { at: '2026-01-01', undated: true })
    await send('a', ['a1'], { at: '2026-01-02', undated: true })
    await send('a', ['a2'], { at: '2026-01-03' })
    const one = held(t, url, { ordered: true })
    one.processor.start()
    await until('the first of a key', () => one.begun.some((id) => id.startsWith('a')))
    assert.equal(one.begun.includes('a2'), false)
    one.end('a1')
    await until('the second', () => one.open.has('a2'))
    one.end('a2')
    await become({ a1: 'DONE 1', a2: 'DONE 1' })
  })

  test('in order, nothing begins while somebody has one of them locked that cannot be lined up', async (t) => {
    const { url, send, sql } = await keyed(t)
    await send('a', ['a1'], { at: '2026-01-01', undated: true })
    await send('a', ['a2'], { at: '2026-01-02', undated: true })
    const client = await sql.connect()
    t.after(() => client.release())
    await client.query('BEGIN')
    await client.query(`SELECT FROM service_ops.integration_inbox WHERE message_id = 'a1' FOR UPDATE`)
    const one = held(t, url, { ordered: true })
    one.processor.start()
    const linedUp = async (): Promise<boolean> =>
      (await sql.query('SELECT FROM service_ops.integration_inbox WHERE next_attempt_at IS NOT NULL'))
        .rowCount === 1
    await until('the second is lined up', linedUp)
    const before = one.processor.state.lastClaimAt
    await until('two more claims', () => (one.processor.state.lastClaimAt ?? 0) > (before ?? 0) + 100)
    assert.deepEqual(one.begun, [])
    await client.query('ROLLBACK')
    await until('the first', () => one.open.has('a1'))
    assert.deepEqual(one.begun, ['a1'])
    one.end('a1')
    await until('the second', () => one.open.has('a2'))
    one.end('a2')
  })

  for (const choices of [{ ordered: true }, { slots: { perKey: 2 } }])
    test(`what an instance without slots has in work counts: ${JSON.stringify(choices)}`, async (t) => {
      const { url, send, become } = await keyed(t)
      await send('a', ['a1', 'a2', 'a3'], { undated: true })
      const old = held(t, url, { concurrency: 2 }, 'old')
      old.processor.start()
      await until('what it has places for', () => old.open.size === 2)
      const one = held(t, url, choices)
      await send('c', ['c1'])
      one.processor.start()
      await until('another key', () => one.open.has('c1'))
      assert.deepEqual(one.begun, ['c1'])
      await old.processor.drain(0)
      one.end('c1')
      await until('the first of what it gave back', () => one.open.has('a1'))
      await become({ c1: 'DONE 1' })
    })

  test('an intake of such a source says when, as pollers do: nothing has to be lined up', async (t) => {
    const { sql } = await keyed(t)
    const take = (source: string, messageId: string): Promise<unknown> =>
      takeMessages(sql, [
        { source, messageId, groupKey: 'a', payload: '{}', traceId: 'x', traceparent: null, maxAttempts: 3 },
      ])
    await sql.query(`INSERT INTO service_ops.slot_limit (source, group_key) VALUES ($1, '*')`, [SOURCE])
    await take(SOURCE, 'with')
    await take('other', 'without')
    const { rows } = await sql.query(
      'SELECT message_id AS id, next_attempt_at IS NOT NULL AS dated FROM service_ops.integration_inbox ORDER BY 1',
    )
    assert.deepEqual(rows, [
      { id: 'with', dated: true },
      { id: 'without', dated: false },
    ])
  })
})

describe('group keys that no index has room for', () => {
  /** Does not compress. */
  const LONG = `SELECT string_agg(md5(n::text), '') AS key FROM generate_series(1, 300) n`

  test('a source without slots writes its failures and retries', async (t) => {
    const { url, send, sql, become } = await keyed(t)
    const { rows } = await sql.query<{ key: string }>(LONG)
    await send(rows[0]?.key ?? '', ['long'], { undated: true })
    await send('a', ['short'], { undated: true })
    const one = held(t, url, { maxAttempts: 2 })
    one.processor.start()
    for (let attempt = 1; attempt <= 2; attempt += 1) {
      await until('both', () => one.open.size === 2)
      for (const id of [...one.open.keys()]) one.end(id, new RangeError('no'))
    }
    await become({ long: 'DEAD 2', short: 'DEAD 2' })
  })

  test('their slots go by the first 200 characters', async (t) => {
    const { url, send, sql, become } = await keyed(t)
    const { rows } = await sql.query<{ key: string }>(LONG)
    const key = rows[0]?.key ?? ''
    await send(`${key} one`, ['l1'])
    await send(`${key} another`, ['l2'])
    const one = held(t, url, { slots: { perKey: 1 } })
    one.processor.start()
    await until('one of them', () => one.open.size === 1)
    await send('a', ['a1'])
    await until('another key', () => one.open.has('a1'))
    assert.equal(one.open.size, 2)
    const seen = await sql.query(
      `SELECT in_use::int, waiting::int FROM service_ops.slot_status WHERE group_key = $1`,
      [key.slice(0, 200)],
    )
    assert.deepEqual(seen.rows, [{ in_use: 1, waiting: 1 }])
    for (const id of [...one.open.keys()]) one.end(id)
    await until('the other one', () => one.open.size === 1)
    for (const id of [...one.open.keys()]) one.end(id)
    await become({ l1: 'DONE 1', l2: 'DONE 1', a1: 'DONE 1' })
  })
})
