import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { TestContext } from 'node:test'
import { DatabaseError } from 'pg'
import { MigrationFailed } from '../../src/errors.ts'
import { createPersist } from '../../src/runner/persist.ts'
import { recordingLog } from '../process/fixture.ts'
import { createDatabase } from '../support/database.ts'
import { until } from '../support/until.ts'

const WAITING = 'tidemark:starter'

const refused = () => Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' })
const said = (code: string) => Object.assign(new DatabaseError('no', 0, 'error'), { severity: 'ERROR', code })

function start() {
  const { log, recorded } = recordingLog()
  const ending = new AbortController()
  const lookout = { query: () => Promise.reject(refused()) }
  const persist = createPersist({ log, signal: ending.signal, lookout, applicationName: WAITING })
  return { persist, recorded, ending }
}

/** A step that fails with each of these in turn, and then is done. */
function failing(...errors: Error[]) {
  let tries = 0
  const step = () => {
    const error = errors[tries]
    tries += 1
    return error === undefined ? Promise.resolve('done') : Promise.reject(error)
  }
  return { step, tries: () => tries }
}

describe('a step of the start', () => {
  test('that meets an outage is done again until it is done, and says so once a reason', async () => {
    const { persist, recorded } = start()
    const { step, tries } = failing(refused(), said('57P03'), said('53300'), refused())
    assert.equal(await persist('to count', step), 'done')
    assert.equal(tries(), 5)
    assert.deepEqual(
      recorded.of('start_waits').map((line) => [line.step, line.class]),
      [
        ['to count', 'connection'],
        ['to count', 'too_many_connections'],
      ],
    )
  })

  test('that fails for a reason which no time mends fails at once', async () => {
    const { persist, recorded } = start()
    const errors = [
      said('42501'),
      said('42P01'),
      said('28P01'),
      new Error('a bug'),
      new MigrationFailed('7_slow.sql', 'too slow', said('57014')),
    ]
    for (const error of errors) await assert.rejects(persist('to count', failing(error).step), error)
    assert.deepEqual(recorded.names, [])
  })

  test('is not tried again once the instance is told to stop', async () => {
    const { persist, recorded, ending } = start()
    const { step, tries } = failing(...Array.from({ length: 100 }, refused))
    const waiting = persist('to count', step)
    await until('it to wait', () => recorded.of('start_waits').length === 1)
    const reason = new Error('stopped by SIGTERM')
    ending.abort(reason)
    await assert.rejects(waiting, reason)
    const before = tries()
    await assert.rejects(persist('to count', step), reason)
    assert.equal(tries(), before + 1)
  })
})

describe('who is in the way of a step', () => {
  async function world(t: TestContext) {
    const database = await createDatabase(t, { migrated: false })
    const holder = await database.client()
    await holder.query(
      `SET application_name = 'a person'; CREATE TABLE goods (n int PRIMARY KEY); INSERT INTO goods VALUES (1)`,
    )
    const { rows } = await holder.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')
    const waiter = await database.client()
    await waiter.query(`SET application_name = '${WAITING}'; SET lock_timeout = '1500ms'`)
    const { log, recorded } = recordingLog()
    const lookout = await database.client()
    const signal = new AbortController().signal
    const persist = createPersist({ log, signal, lookout, applicationName: WAITING })
    return { holder, waiter, recorded, persist, pid: rows[0]?.pid ?? 0 }
  }

  const LOCKS = {
    'a table': ['LOCK TABLE goods IN EXCLUSIVE MODE', 'LOCK TABLE goods IN SHARE MODE'],
    'a row': ['UPDATE goods SET n = 1', 'UPDATE goods SET n = 2 WHERE n = 1'],
  } as const
  for (const [what, [held, wanted]] of Object.entries(LOCKS)) {
    test(`is named, once, with the table and what ends it: ${what}`, async (t) => {
      const { holder, waiter, recorded, persist, pid } = await world(t)
      await holder.query(`BEGIN; ${held}`)
      const step = async () => {
        await waiter.query('BEGIN')
        await waiter.query(wanted).finally(() => waiter.query('ROLLBACK'))
      }
      let tries = 0
      const done = persist('to count', () => {
        tries += 1
        return step()
      })
      const line = await until('it to be said', () => recorded.of('start_waits')[0])
      const { class: errorClass, table, application, how_to_end } = line
      assert.deepEqual(
        [errorClass, table, line.pid, application, how_to_end],
        ['lock_timeout', 'public.goods', pid, 'a person', `SELECT pg_terminate_backend(${pid})`],
      )
      assert.ok(typeof line.age_s === 'number')
      await until('another try', () => tries === 3)
      await holder.query('ROLLBACK')
      await done
      assert.equal(recorded.of('start_waits').length, 1)
    })
  }

  test('is named while a step still waits, when it waits for long', async (t) => {
    const { holder, waiter, recorded, persist, pid } = await world(t)
    await waiter.query('SET lock_timeout = 0')
    await holder.query('BEGIN; LOCK TABLE goods')
    const done = persist('to count', () => waiter.query('TABLE goods'))
    const line = await until('it to be said', () => recorded.of('start_waits')[0])
    assert.deepEqual([line.table, line.pid], ['public.goods', pid])
    await holder.query('ROLLBACK')
    assert.equal((await done).rowCount, 1)
  })
})
