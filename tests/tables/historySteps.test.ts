import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Queryable } from '../../src/db/pool.ts'
import { forgetSteps, readHistory, rollUpHistory } from '../../src/tables/history.ts'
import type { HistoryPoint } from '../../src/tables/history.ts'
import { createDatabase } from '../support/database.ts'
import type { Scope } from '../support/scope.ts'

const HOUR_MS = 3_600_000

/** A history of so many hours up to now, a row a minute of what is summed and of what is not; and the present hour's beginning. */
async function historyOf(t: Scope, hours: number) {
  const db = (await createDatabase(t)).pool()
  await db.query(
    `INSERT INTO service_ops.history_minute (at, name, key, value)
     SELECT date_trunc('minute', now()) - n * interval '1 minute', v.name, v.key, CASE WHEN v.name = 'done' THEN 2 ELSE n END
       FROM generate_series(0, $1::integer * 60 - 1) n, (VALUES ('done', 'orders'), ('lag_seconds', 'orders'), ('instances', 'ready'), ('flushed', 'a')) v(name, key)`,
    [hours],
  )
  const { rows } = await db.query<{ ms: number }>(
    `SELECT floor(date_part('epoch', now()) / 3600) * 3600000 AS ms`,
  )
  return { db, hourMs: rows[0]?.ms ?? 0 }
}

/** What a reader sees of the hours before the present one, in steps of so many minutes. */
async function seen(
  db: Queryable,
  hourMs: number,
  stepMinutes: number,
  hours: number,
): Promise<HistoryPoint[]> {
  const [from, to] = [new Date(hourMs - hours * HOUR_MS), new Date(hourMs)]
  return readHistory(db, { from, to, stepMinutes })
}

async function stored(db: Queryable, where = 'true'): Promise<number> {
  const { rows } = await db.query<{ n: number }>(
    `SELECT count(*)::integer AS n FROM service_ops.history_step WHERE ${where}`,
  )
  return rows[0]?.n ?? 0
}

test('steps say what the minutes say, before they are made and after', async (t) => {
  const { db, hourMs } = await historyOf(t, 30)
  const before = { tens: await seen(db, hourMs, 10, 28), hours: await seen(db, hourMs, 60, 28) }
  assert.equal(before.hours.filter(({ name }) => name === 'done').length, 28)
  assert.ok(before.hours.every(({ name, value }) => name !== 'done' || value === 120))
  assert.equal(await rollUpHistory(db), false, 'a day of it at once')
  assert.deepEqual(await seen(db, hourMs, 60, 28), before.hours, 'the rest is read from the minutes')
  assert.equal(await rollUpHistory(db), true)
  assert.deepEqual(await seen(db, hourMs, 10, 28), before.tens)
  assert.deepEqual(await seen(db, hourMs, 60, 28), before.hours)
  // Two hours of steps and another two of minutes.
  assert.deepEqual(await seen(db, hourMs, 120, 28), await onlyFromMinutes(db, hourMs, 120))
})

/** As it is where there are no steps. */
async function onlyFromMinutes(db: Queryable, hourMs: number, stepMinutes: number): Promise<HistoryPoint[]> {
  await db.query('CREATE TABLE kept AS SELECT * FROM service_ops.history_step')
  await db.query('TRUNCATE service_ops.history_step')
  const points = await seen(db, hourMs, stepMinutes, 28)
  await db.query('INSERT INTO service_ops.history_step SELECT * FROM kept')
  return points
}

test('a day and a week are read from steps: what is in no minute any more is there', async (t) => {
  const { db, hourMs } = await historyOf(t, 8)
  while (!(await rollUpHistory(db)));
  const whole = await seen(db, hourMs, 60, 7)
  await db.query(`DELETE FROM service_ops.history_minute WHERE at < now() - interval '4 hours'`)
  assert.deepEqual(await seen(db, hourMs, 60, 7), whole)
})

test('counts that come late are in the steps at the next run, and older ones in their turn', async (t) => {
  const { db, hourMs } = await historyOf(t, 30)
  while (!(await rollUpHistory(db)));
  const late = async (hoursAgo: number): Promise<void> => {
    await db.query(
      `UPDATE service_ops.history_minute SET value = 1000 WHERE name = 'done' AND at = to_timestamp($1::float8 / 1000)`,
      [hourMs - hoursAgo * HOUR_MS],
    )
  }
  const sum = async (hoursAgo: number): Promise<number | undefined> =>
    (await seen(db, hourMs, 60, 29)).find(
      ({ name, at }) => name === 'done' && Date.parse(at) === hourMs - hoursAgo * HOUR_MS,
    )?.value
  await late(1)
  await late(20)
  assert.deepEqual([await sum(1), await sum(20)], [1118, 120], 'the newest are read from the minutes')
  // A run comes every ten minutes; each takes another stretch, by the clock that is asked here.
  for (let run = 0; run < 6; run += 1) await rollUpHistory(laterBy(db, run * 600_000))
  assert.deepEqual([await sum(1), await sum(20)], [1118, 1118])
  assert.equal(await stored(db, `minutes = 60 AND name = 'done' AND value = 1118`), 2)
})

/** The same database, whose clock is said to be ahead. */
function laterBy(db: Queryable, ms: number): Queryable {
  return {
    async query(text, values) {
      const result = await db.query<{ now_ms?: number } & Record<string, unknown>>(text, values)
      for (const row of result.rows) if (row.now_ms !== undefined) row.now_ms += ms
      // Of what was asked for, one number apart.
      return result as never
    },
  }
}

test('a time in which nobody lived is no obstacle, and a run that has nothing to do writes nothing', async (t) => {
  const { db } = await historyOf(t, 3)
  await db.query(
    `UPDATE service_ops.history_minute SET at = at - interval '3 days' WHERE at < now() - interval '2 hours'`,
  )
  while (!(await rollUpHistory(db)));
  assert.ok((await stored(db, `at < now() - interval '2 days'`)) > 0)
  assert.ok((await stored(db, `at > now() - interval '1 hour'`)) > 0)
  const versions = async (): Promise<string | undefined> => {
    const { rows } = await db.query<{ x: string }>(
      `SELECT max(xmin::text::bigint)::text AS x FROM service_ops.history_step`,
    )
    return rows[0]?.x
  }
  const before = await versions()
  assert.equal(await rollUpHistory(db), true)
  assert.deepEqual(await versions(), before)
  const empty = (await createDatabase(t)).pool()
  assert.equal(await rollUpHistory(empty), true)
})

test('steps are forgotten with their minutes', async (t) => {
  const { db } = await historyOf(t, 5)
  while (!(await rollUpHistory(db)));
  assert.ok((await stored(db)) > 100)
  await forgetSteps(db, 2 * HOUR_MS)
  assert.equal(await stored(db, `at < now() - interval '2 hours'`), 0)
  assert.ok((await stored(db)) > 0)
})
