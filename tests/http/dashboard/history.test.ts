import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readChronicle } from '../../../src/http/dashboard/history.ts'
import { realDashboard } from './fixture.ts'

const NOW = Date.parse('2026-03-01T08:00:30Z')

test('a history', async (t) => {
  const { browser, pool, query } = await realDashboard(t)

  await t.test('says so where nothing was written yet', async () => {
    assert.match(await browser.text('/history'), /No history yet/)
  })

  await query(
    `INSERT INTO service_ops.history_minute (at, name, key, value)
     SELECT timestamptz '2026-03-01T08:00Z' - n * interval '1 minute', name, key, value
       FROM generate_series(1, 120) n,
            (VALUES ('done', 'orders', 120.0), ('backlog', 'orders NEW', 7), ('lag_seconds', 'orders', 2), ('instances', 'ready', 2), ('flushed', 'i-1', 1)) v(name, key, value)`,
  )
  await query(
    `INSERT INTO service_ops.leader_change (task_name, to_instance, term, reason, gap_ms, at)
     VALUES ('orders', 'i-2', 2, 'took_over', 40, '2026-03-01T07:30Z'), ('orders', 'i-1', 1, 'elected', NULL, '2026-02-01T07:30Z')`,
  )

  await t.test(
    'of an hour has a value a minute, in a second, and the changes of leadership within it',
    async () => {
      const { times, charts, changes } = await readChronicle(pool, 'hour', NOW)
      assert.equal(times.length, 60)
      assert.equal(times.at(-1), Date.parse('2026-03-01T07:59:00Z') / 1000)
      const [line] = charts.find(({ id }) => id === 'rates')?.lines ?? []
      assert.equal(line?.label, 'orders done')
      assert.deepEqual(new Set(line.values), new Set([2]))
      assert.deepEqual(
        changes.map(({ to_instance: to }) => to),
        ['i-2'],
      )
    },
  )

  await t.test('leaves gaps where nothing is known', async () => {
    const { charts } = await readChronicle(pool, 'day', NOW)
    const [line] = charts.find(({ id }) => id === 'backlog')?.lines ?? []
    assert.equal(line?.values.length, 144)
    assert.deepEqual([line.values[0], line.values.at(-1)], [null, 7])
  })
})
