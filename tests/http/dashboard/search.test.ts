import assert from 'node:assert/strict'
import { test } from 'node:test'
import { search } from '../../../src/http/dashboard/search.ts'
import type { Search } from '../../../src/http/dashboard/search.ts'
import { addMessages, realDashboard } from './fixture.ts'

test('a search', async (t) => {
  const world = await realDashboard(t)
  const { pool, query } = world
  // Finished ones among which the others lie, and one that waits at the very beginning.
  const [first = 0] = await addMessages(world, [
    { id: 'first', status: 'DEAD', error: 'TypeError: [23505] no' },
  ])
  await query(
    `INSERT INTO service_ops.integration_inbox (source, message_id, status, trace_id, group_key, created_at, processed_at)
     SELECT 'orders', 'done-' || n, 'DONE', 't-' || n, 'key-' || n % 3, now() - (3000 - n) * interval '1 minute', now()
       FROM generate_series(1, 3000) n`,
  )
  await addMessages(world, [
    { id: 'open', status: 'NEW' },
    { id: 'busy', status: 'PROCESSING' },
    { id: 'again', status: 'FAILED', error: 'RangeError: far' },
    { id: 'same', source: 'returns', trace: 't-5' },
    { id: 'same', source: 'orders' },
    { id: 'gone', status: 'DISCARDED' },
  ])
  await query(
    `INSERT INTO service_ops.inbox_low_water (source, low) VALUES ('orders', $1), ('returns', $1)`,
    [first + 2_000],
  )
  const ids = async (asked: Search): Promise<string[]> =>
    (await search(pool, asked)).rows.map(({ message_id: id }) => id)

  await t.test('without a question finds the newest', async () => {
    const found = await search(pool, {})
    assert.deepEqual(
      found.rows.slice(0, 7).map(({ message_id: id }) => id),
      ['gone', 'same', 'same', 'again', 'busy', 'open', 'done-3000'],
    )
    assert.equal(found.rows.length, 50)
    assert.ok(found.below !== undefined)
  })

  await t.test('by status finds what waits, however long ago it came', async () => {
    assert.deepEqual(await ids({ statuses: ['DEAD'] }), ['first'])
    assert.deepEqual(await ids({ statuses: ['FAILED', 'DEAD'] }), ['again', 'first'])
    assert.deepEqual(await ids({ statuses: ['NEW', 'PROCESSING'] }), ['busy', 'open'])
    assert.deepEqual(await ids({ statuses: ['NEW', 'DEAD'] }), ['open', 'first'])
    assert.deepEqual(await ids({ statuses: ['DISCARDED'] }), ['gone'])
    assert.deepEqual(await ids({ statuses: ['FAILED'], sources: ['returns'] }), [])
  })

  await t.test('by trace, by the id at the source or by number finds each that has it', async () => {
    assert.deepEqual(await ids({ text: 't-5' }), ['same', 'done-5'])
    assert.deepEqual(await ids({ text: 'same' }), ['same', 'same'])
    assert.deepEqual(await ids({ text: 'same', sources: ['returns'] }), ['same'])
    assert.deepEqual(await ids({ text: String(first) }), ['first'])
    assert.deepEqual(await ids({ text: 'nothing' }), [])
  })

  await t.test('by error finds the class, and the SQLSTATE', async () => {
    assert.deepEqual(await ids({ error: 'TypeError' }), ['first'])
    assert.deepEqual(await ids({ error: '23505', statuses: ['DEAD'] }), ['first'])
    assert.deepEqual(await ids({ error: 'Type' }), [])
  })

  await t.test('by key and by time finds exactly those', async () => {
    const [times] = await query(
      `SELECT to_json(min(created_at)) #>> '{}' AS since, to_json(max(created_at)) #>> '{}' AS until
         FROM service_ops.integration_inbox WHERE message_id IN ('done-100', 'done-110')`,
    )
    const { since, until } = times as { since: string; until: string }
    const between = { since, until }
    assert.deepEqual(
      await ids(between),
      Array.from({ length: 10 }, (_, n) => `done-${109 - n}`),
    )
    assert.deepEqual(await ids({ ...between, groupKey: 'key-1' }), [
      'done-109',
      'done-106',
      'done-103',
      'done-100',
    ])
  })

  await t.test('gives every message once over its pages', async () => {
    const seen: number[] = []
    for (let below: string | undefined = undefined, more = true; more;) {
      const page = await search(pool, { groupKey: 'key-0', below })
      seen.push(...page.rows.map(({ inbox_id: id }) => id))
      below = page.below
      more = below !== undefined
    }
    assert.equal(seen.length, 1_000)
    assert.deepEqual(
      seen,
      seen.toSorted((one, other) => other - one),
    )
  })

  await t.test('of what is open gives every message once over its pages, wherever it is found', async () => {
    await query(
      `INSERT INTO service_ops.integration_inbox (source, message_id, status, trace_id, next_attempt_at)
       SELECT 'orders', 'wait-' || n, CASE n % 3 WHEN 0 THEN 'NEW' WHEN 1 THEN 'FAILED' ELSE 'PROCESSING' END, 't',
              CASE n % 2 WHEN 0 THEN now() END FROM generate_series(1, 240) n WHERE n % 3 <> 1 OR n % 2 = 0`,
    )
    const [count] = await query(
      `SELECT count(*)::int AS n FROM service_ops.integration_inbox WHERE status IN ('NEW', 'FAILED', 'PROCESSING')`,
    )
    const seen = new Set<number>()
    let below: string | undefined
    do {
      const page = await search(pool, { statuses: ['NEW', 'FAILED', 'PROCESSING'], below })
      for (const { inbox_id: id } of page.rows) {
        assert.ok(!seen.has(id), `${id} twice`)
        seen.add(id)
      }
      below = page.below
    } while (below !== undefined)
    assert.equal(seen.size, count?.['n'])
  })
})
