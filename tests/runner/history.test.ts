import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Queryable } from '../../src/db/pool.ts'
import { startHistory } from '../../src/runner/history.ts'
import type { History } from '../../src/runner/history.ts'
import { createMeter } from '../../src/telemetry/metrics/meter.ts'
import type { Meter } from '../../src/telemetry/metrics/meter.ts'
import { Tallies } from '../../src/telemetry/metrics/tally.ts'
import { recordedLog } from '../db/recordedLog.ts'
import { createDatabase } from '../support/database.ts'
import type { Scope } from '../support/scope.ts'
import { until } from '../support/until.ts'

/* A minute is a second here: what is tested is where one ends, not how long it is. */
const MINUTE_MS = 1_000

interface Counting {
  readonly meter: Meter
  readonly history: History
  readonly log: ReturnType<typeof recordedLog>
}

async function historyOf(t: Scope) {
  const database = await createDatabase(t)
  const own = database.pool()
  return {
    db: own as Queryable,
    begin: (instanceId: string, db: Queryable = own): Counting => {
      const tallies = new Tallies()
      const log = recordedLog()
      const history = startHistory({ db, instanceId, tallies, log, minuteMs: MINUTE_MS })
      t.after(() => history.stop(1_000))
      return { meter: createMeter(tallies), history, log }
    },
    /** What the history has of one thing, by minute. */
    minutes: async (name: string, key: string): Promise<Map<number, number>> => {
      const { rows } = await own.query<{ at: Date; value: number }>(
        'SELECT at, value FROM service_ops.history_minute WHERE name = $1 AND key = $2 ORDER BY at',
        [name, key],
      )
      return new Map(rows.map(({ at, value }) => [at.getTime(), value]))
    },
  }
}

const sum = (minutes: ReadonlyMap<number, number>): number =>
  [...minutes.values()].reduce((total, value) => total + value, 0)

test('counts of two instances add up in the minutes in which they were counted', async (t) => {
  const { begin, minutes } = await historyOf(t)
  const [one, two] = [begin('one'), begin('two')]
  await until('both to know the clock', async () => (await minutes('flushed', 'two')).size > 0)
  for (let n = 1; n <= 3; n += 1) {
    const before = (await minutes('flushed', 'one')).size
    one.meter.done('orders', 20)
    one.meter.handled('orders', 1)
    two.meter.done('orders', 30)
    two.meter.handled('orders', 1)
    two.meter.takenIn('orders', 2)
    await until('the minute to be written', async () => (await minutes('flushed', 'one')).size > before)
  }
  await Promise.all([one.history.stop(1_000), two.history.stop(1_000)])
  assert.deepEqual([sum(await minutes('done', 'orders')), sum(await minutes('ingested', 'orders'))], [6, 6])
  assert.equal(sum(await minutes('latency', 'orders 0.025')), 3)
  assert.equal(sum(await minutes('latency', 'orders 0.05')), 3)
  assert.equal(sum(await minutes('handler', 'orders 0.001')), 6)
  assert.ok((await minutes('done', 'orders')).size >= 2)
  for (const at of (await minutes('done', 'orders')).keys()) assert.equal(at % MINUTE_MS, 0)
})

test('what was counted before the end of a minute is in that minute, by the clock of the database', async (t) => {
  const { begin, minutes, db } = await historyOf(t)
  const clock = async (): Promise<number> => {
    const { rows } = await db.query<{ now: number }>(
      `SELECT extract(epoch FROM clock_timestamp())::float8 * 1000 AS now`,
    )
    return rows[0]?.now ?? 0
  }
  const { meter } = begin('one')
  await until('it to know the clock', async () => (await minutes('flushed', 'one')).size > 0)
  for (const name of ['first', 'second']) {
    const now = await until('the middle of a minute', async () => {
      const at = await clock()
      const into = at % MINUTE_MS
      return into > 300 && into < 700 ? at : undefined
    })
    meter.takenIn(name, 1)
    await until('it to be written', async () => (await minutes('ingested', name)).size > 0)
    assert.deepEqual([...(await minutes('ingested', name)).keys()], [now - (now % MINUTE_MS)])
  }
})

test('an end writes what was counted since the last minute', async (t) => {
  const { begin, minutes } = await historyOf(t)
  const { meter, history } = begin('one')
  await until('it to know the clock', async () => (await minutes('flushed', 'one')).size > 0)
  for (let n = 0; n < 5; n += 1) meter.done('orders', 20)
  await history.stop(1_000)
  assert.equal(sum(await minutes('done', 'orders')), 5)
})

/** Answers as the database does, after or instead of what `trouble` does. */
function troubled(db: Queryable, trouble: (ask: () => Promise<unknown>) => Promise<void>): Queryable {
  const query = async (...args: Parameters<Queryable['query']>) => {
    let answer: unknown
    await trouble(async () => (answer = await db.query(...args)))
    return answer ?? (await db.query(...args))
  }
  return { query } as Queryable
}

test('a batch whose answer is lost is counted once, and what is counted meanwhile as well', async (t) => {
  const { begin, minutes, db } = await historyOf(t)
  let [losing, lost] = [false, 0]
  const { meter, history, log } = begin(
    'one',
    troubled(db, async (ask) => {
      if (!losing || lost > 0) return
      await ask()
      lost += 1
      throw new Error('the answer was lost')
    }),
  )
  meter.takenIn('mails', 1)
  await until('it to write', async () => (await minutes('flushed', 'one')).size > 0)
  for (let n = 0; n < 3; n += 1) meter.done('orders', 20)
  losing = true
  await until('an answer to be lost', () => lost > 0)
  meter.done('orders', 20)
  await history.stop(5_000)
  assert.equal(sum(await minutes('done', 'orders')), 4)
  assert.deepEqual(
    log.of('loop_failed').map(({ loop }) => loop),
    ['history'],
  )
})

test('what is counted while the database is away is written after it, in its own minutes', async (t) => {
  const { begin, minutes, db } = await historyOf(t)
  let away = false
  let refused = 0
  const { meter, history } = begin(
    'one',
    troubled(db, async () => {
      if (!away) return
      refused += 1
      throw Object.assign(new Error('gone'), { code: 'ECONNREFUSED' })
    }),
  )
  await until('it to write', async () => (await minutes('flushed', 'one')).size > 0)
  away = true
  for (let n = 1; n <= 3; n += 1) {
    const before = refused
    meter.done('orders', 20)
    await until('another minute to go by', () => refused > before)
  }
  assert.equal((await minutes('done', 'orders')).size, 0)
  away = false
  await history.stop(5_000)
  const written = await minutes('done', 'orders')
  assert.deepEqual([sum(written), written.size >= 2], [3, true])
})
