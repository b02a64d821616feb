import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import type { Queryable } from '../../src/db/pool.ts'
import { obeyPauses } from '../../src/runner/control.ts'
import { startPauses } from '../../src/runner/pauses.ts'
import type { Pauses, PausesOptions } from '../../src/runner/pauses.ts'
import { recordingLog } from '../process/fixture.ts'
import { createDatabase } from '../support/database.ts'
import { until } from '../support/until.ts'

const INSTANCE = 'one'

async function world(t: TestContext) {
  const sql = (await createDatabase(t)).pool()
  await sql.query(`
    INSERT INTO service_ops.background_task (id, task_name, kind, led, config_hash, release)
    VALUES (1, 'arrivals', 'poller', true, '', '1'), (2, 'reader', 'processor', false, '', '1'), (3, 'digest', 'job', false, '', '1')`)
  const { log, recorded } = recordingLog()
  const set = (task: string, paused: boolean) =>
    sql.query('UPDATE service_ops.background_task SET paused = $2 WHERE task_name = $1', [task, paused])
  const start = async (options: Partial<PausesOptions> = {}): Promise<Pauses> => {
    const pauses = await startPauses({
      db: sql,
      instanceId: INSTANCE,
      tasks: ['arrivals', 'reader', 'digest'],
      log,
      ...options,
    })
    t.after(() => pauses.stop())
    return pauses
  }
  return { sql, set, start, recorded }
}

test('what is paused is known before anything begins, and said', async (t) => {
  const { sql, set, start, recorded } = await world(t)
  await set('reader', true)
  const pauses = await start({ everyMs: 60_000 })
  assert.deepEqual(
    ['arrivals', 'reader', 'digest'].map((task) => pauses.isPaused(task)),
    [false, true, false],
  )
  const { rows } = await sql.query<{ role: string }>('SELECT session_user AS role')
  const by = rows[0]?.role ?? ''
  assert.equal(pauses.reason('reader'), `paused by ${by}`)
  assert.deepEqual(recorded.of('task_paused'), [{ task: 'reader', by }])
})

test('a change that nobody tells of is found by the clock, within 2 s', async (t) => {
  const { set, start, recorded } = await world(t)
  const pauses = await start()
  for (const paused of [true, false]) {
    const since = performance.now()
    await set('digest', paused)
    await until('the clock', () => pauses.isPaused('digest') === paused, 20_000)
    t.diagnostic(
      `${paused ? 'paused' : 'resumed'}, without a word: after ${Math.round(performance.now() - since)} ms`,
    )
  }
  await until('the word', () => recorded.of('task_resumed').length === 1)
  assert.equal(typeof recorded.of('task_resumed')[0]?.by, 'string')
})

test('a change that is told of is known at once, also when a look is under way', async (t) => {
  const { sql, set, start } = await world(t)
  let meanwhile: (() => Promise<unknown>) | undefined
  const db: Queryable = {
    // The answer comes after something has changed: it is old by then.
    async query<R extends Record<string, unknown>>(text: string, values?: unknown[]) {
      const answer = await sql.query<R>(text, values)
      const act = meanwhile
      meanwhile = undefined
      await act?.()
      return answer
    },
  }
  const pauses = await start({ db, everyMs: 60_000 })
  meanwhile = async () => {
    await set('reader', true)
    pauses.wake()
  }
  pauses.wake()
  await until('the second look', () => pauses.isPaused('reader'))
})

test('a look whose answer crosses a heartbeat’s is made again', async (t) => {
  const { sql, set, start } = await world(t)
  let meanwhile: (() => void) | undefined
  const db: Queryable = {
    async query<R extends Record<string, unknown>>(text: string, values?: unknown[]) {
      const answer = await sql.query<R>(text, values)
      meanwhile?.()
      meanwhile = undefined
      return answer
    },
  }
  const pauses = await start({ db, everyMs: 3_600_000 })
  await set('reader', true)
  // Asked for later, and all the same from before the pause: its connection was slow.
  meanwhile = () => pauses.told(new Map(), performance.now())
  pauses.wake()
  await until('the second look', () => pauses.isPaused('reader'))
})

test('what a heartbeat has learned is believed and saves a look; what was asked for before the newest answer is not', async (t) => {
  const { sql, set, start, recorded } = await world(t)
  let looks = 0
  const db: Queryable = {
    query<R extends Record<string, unknown>>(text: string, values?: unknown[]) {
      looks += 1
      return sql.query<R>(text, values)
    },
  }
  const pauses = await start({ db, everyMs: 3_600_000 })
  const before = performance.now() - 60_000
  pauses.told(new Map([['reader', 'ann']]), performance.now())
  assert.equal(pauses.reason('reader'), 'paused by ann')
  pauses.told(new Map(), before)
  assert.ok(pauses.isPaused('reader'), 'that was asked for before')
  assert.equal(looks, 1, 'the first')
  pauses.told(new Map(), performance.now())
  assert.equal(pauses.isPaused('reader'), false)
  await until('the word', () => recorded.of('task_resumed').length === 1)
  await set('reader', true)
  pauses.wake()
  await until('the look that was asked for', () => pauses.isPaused('reader'))
})

test('the clock does not look for as long as heartbeats tell', async (t) => {
  const { sql, start } = await world(t)
  let looks = 0
  const db: Queryable = {
    query<R extends Record<string, unknown>>(text: string, values?: unknown[]) {
      looks += 1
      return sql.query<R>(text, values)
    },
  }
  const pauses = await start({ db, everyMs: 1_000 })
  const tellFor = performance.now() + 3_000
  await until('three times the interval', () => {
    pauses.told(new Map(), performance.now())
    return performance.now() > tellFor
  })
  assert.equal(looks, 1, 'the first')
  await until('a look once they tell no more', () => looks === 2)
})

test('while the database cannot be asked, everything stays as it was known', async (t) => {
  const { sql, set, start } = await world(t)
  await set('arrivals', true)
  let asked = 0
  let isAway = false
  const db: Queryable = {
    query<R extends Record<string, unknown>>(text: string, values?: unknown[]) {
      asked += 1
      return isAway ? Promise.reject(new Error('away')) : sql.query<R>(text, values)
    },
  }
  const pauses = await start({ db, everyMs: 5 })
  isAway = true
  const before = asked
  await until('looks in vain', () => asked > before + 1)
  assert.equal(pauses.isPaused('arrivals'), true)
  await set('arrivals', false)
  isAway = false
  await until('the look after it', () => !pauses.isPaused('arrivals'))
})

test('a look that was asked for and failed is made again soon', async (t) => {
  const { sql, set, start } = await world(t)
  let failures = 0
  let isAway = false
  const db: Queryable = {
    query<R extends Record<string, unknown>>(text: string, values?: unknown[]) {
      if (!isAway) return sql.query<R>(text, values)
      failures += 1
      return Promise.reject(new Error('away'))
    },
  }
  const pauses = await start({ db, everyMs: 3_600_000 })
  isAway = true
  pauses.wake()
  await until('it to fail', () => failures > 0)
  await set('arrivals', true)
  isAway = false
  await until('the next', () => pauses.isPaused('arrivals'))
})

test('a task whose row is gone is not paused any more', async (t) => {
  const { sql, set, start, recorded } = await world(t)
  await set('arrivals', true)
  const pauses = await start({ everyMs: 5 })
  await sql.query(`DELETE FROM service_ops.background_task WHERE task_name = 'arrivals'`)
  await until('it to go on', () => !pauses.isPaused('arrivals'))
  await until('the word', () => recorded.of('task_resumed').length === 1)
})

test('the parts are told of what concerns them', async (t) => {
  const { set, start } = await world(t)
  const pauses = await start({ everyMs: 5 })
  const told: string[] = []
  const part = (name: string) => ({
    name,
    wake: () => void told.push(`wake ${name}`),
    hold: () => void told.push(`hold ${name}`),
  })
  obeyPauses(pauses, {
    jobs: { wake: () => void told.push('jobs') },
    processors: [part('reader'), part('other')],
    pollers: [{ poller: part('arrivals') }, { poller: part('others') }],
    ticks: new Map([
      [
        'arrivals',
        { demand: () => void told.push('demand arrivals'), rest: () => void told.push('rest arrivals') },
      ],
    ]),
  })
  const tells = async (task: string, paused: boolean, expected: string[]): Promise<void> => {
    told.length = 0
    await set(task, paused)
    await until(`${task} ${String(paused)}`, () => pauses.isPaused(task) === paused && told.length > 0)
    assert.deepEqual(told, expected)
  }
  await tells('arrivals', true, ['jobs', 'hold arrivals', 'rest arrivals'])
  await tells('arrivals', false, ['jobs', 'demand arrivals'])
  await tells('reader', true, ['jobs', 'wake reader'])
})

test('a task that no live instance has is said once, by the one that has run longest, and anew when it happens again', async (t) => {
  const { sql, start, recorded } = await world(t)
  await sql.query(`
    INSERT INTO service_ops.runner_instance (instance_id, holder, release, state, tasks, started_at)
    VALUES ('${INSTANCE}', gen_random_uuid(), '1', 'ready', '{arrivals,reader}', now() - interval '1 hour'),
           ('two', gen_random_uuid(), '1', 'ready', '{arrivals}', now())`)
  const younger = recordingLog()
  await start({ everyMs: 2, orphansEveryMs: 2 })
  await start({ everyMs: 2, orphansEveryMs: 2, instanceId: 'two', log: younger.log })
  const said = (times: number) => until('the word', () => recorded.of('task_orphaned').length === times)
  await said(1)
  await sql.query(
    `UPDATE service_ops.runner_instance SET tasks = tasks || '{digest}' WHERE instance_id = 'two'`,
  )
  await until('nobody to miss it', async () => {
    const { rowCount } = await sql.query('SELECT FROM service_ops.task_status WHERE orphaned')
    return rowCount === 0
  })
  // A few looks by the clock, so that each has seen it there.
  const { rows } = await sql.query<{ at: Date }>('SELECT clock_timestamp() AS at')
  await until('looks', () => Date.now() > (rows[0]?.at.getTime() ?? 0) + 100)
  await sql.query(`UPDATE service_ops.runner_instance SET state = 'stopped' WHERE instance_id = 'two'`)
  await said(2)
  assert.deepEqual(recorded.of('task_orphaned'), [{ task: 'digest' }, { task: 'digest' }])
  assert.deepEqual(younger.recorded.of('task_orphaned'), [])
})

test('a task that is without an instance for one look, as in a restart, is not spoken of', async (t) => {
  const { start, recorded } = await world(t)
  /** What the looks for orphans find, one after the other. */
  const finds = [['digest'], [], ['digest'], [], ['reader'], ['reader']]
  let last = 0
  const db = {
    query(text: string) {
      if (!text.includes('task_status')) return Promise.resolve({ rows: [] })
      const found = finds.shift() ?? []
      if (finds.length === 0) last += 1
      return Promise.resolve({ rows: found.map((name) => ({ task_name: name })) })
    },
  }
  // A stand-in for a database of which this process can say when it changes.
  await start({ db: db as unknown as Queryable, everyMs: 2, orphansEveryMs: 2 })
  await until('the last look and one more', () => last > 1)
  assert.deepEqual(recorded.of('task_orphaned'), [{ task: 'reader' }])
})
