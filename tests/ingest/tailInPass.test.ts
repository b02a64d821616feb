import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createPoller } from '../../src/ingest/poller.ts'
import type { DuePass } from '../../src/ingest/tick.ts'
import { createWakingTick } from '../../src/ingest/wakingTick.ts'
import { pause } from '../../src/kit/pause.ts'
import { recordedLog } from '../db/recordedLog.ts'
import type { Scope } from '../support/scope.ts'
import { createIntake, POLLER, sourceOf } from './fixture.ts'

/* An insert that is announced while a long pass is made. */

const NOTES = `CREATE TABLE note (id bigint PRIMARY KEY, created_at timestamptz NOT NULL DEFAULT clock_timestamp())`
const ROWS = 100
const PAGE = 10

/** A window of rows that are known, and a poller whose every page is told of before it is asked for. */
async function world(t: Scope, onPage: (page: number) => Promise<void>) {
  const intake = await createIntake(t, NOTES)
  const source = await intake.prepare(sourceOf('note'))
  await intake.pool.query(
    `INSERT INTO note SELECT n, now() - interval '1 minute' FROM generate_series(1, ${ROWS}) n`,
  )
  const first = await intake.pass(source, await intake.lead(), { slackMs: 3_600_000, pageSize: PAGE })
  assert.equal(first.rowsInserted, ROWS)
  const over = new AbortController()
  t.after(() => over.abort())
  let given = false
  const tick = createWakingTick({
    inner: {
      async next(signal) {
        if (given) await pause(3_600_000, signal)
        if (signal.aborted) return undefined
        given = true
        const due: DuePass = { dueAt: new Date(), cause: 'loop', done: () => Promise.resolve() }
        return due
      },
    },
    createSleeper: () => ({
      fallAsleep: () => Promise.resolve(true),
      wakeUp: () => undefined,
      isSound: () => Promise.resolve(true),
      close: () => Promise.resolve(),
    }),
  })
  let pages = 0
  const announced: number[] = []
  const recorded = recordedLog()
  const poller = createPoller({
    db: {
      async query(text, values) {
        if (text === source.page.text || text === source.skim.text) await onPage((pages += 1))
        return intake.pool.query(text, values === undefined ? undefined : [...values])
      },
    },
    name: POLLER,
    everyMs: 60_000,
    pageSize: PAGE,
    maxAttempts: 1,
    instanceId: 'me',
    onInserted: (rows) => announced.push(rows),
    source,
    tick,
    slackMs: 3_600_000,
    log: { ...recorded, child: () => assert.fail(), close: () => Promise.resolve() },
  })
  const lead = (): Promise<void> =>
    poller.lead({
      ...first.fence,
      createdEdge: null,
      signal: over.signal,
      refused: () => assert.fail('a statement was refused'),
    })
  return { intake, tick, over, lead, announced, recorded }
}

test('it is taken in and announced before the next page, and the pass goes on', async (t) => {
  const has = async (id: string): Promise<boolean> =>
    (await intake.inbox()).some(({ message_id }) => message_id === id)
  let atThird: object | undefined
  const { intake, tick, over, lead, announced, recorded } = await world(t, async (page) => {
    if (page === 2) {
      // While this page is read, so to speak: it is not one of those that it finds.
      await intake.pool.query(`INSERT INTO note VALUES (${ROWS + 1})`)
      tick.wake()
    }
    if (page === 3) {
      atThird = {
        isIn: await has(String(ROWS + 1)),
        announced: [...announced],
        completed: recorded.of('poll_completed').length,
      }
      over.abort()
    }
  })
  await lead()
  assert.deepEqual(atThird, { isIn: true, announced: [1], completed: 0 })
  assert.deepEqual(recorded.of('poll_failed'), [])
})

test('what it takes in is not taken in again, and counted with the pass', async (t) => {
  const { intake, tick, over, lead, announced, recorded } = await world(t, async (page) => {
    if (page === 2) {
      await intake.pool.query(`INSERT INTO note VALUES (${ROWS + 1})`)
      tick.wake()
    }
    if (announced.length > 0 && recorded.of('poll_completed').length > 0) over.abort()
  })
  await lead()
  assert.equal((await intake.inbox()).length, ROWS + 1)
  assert.deepEqual(announced, [1])
  const { rows } = await intake.pool.query(
    `SELECT outcome, rows_inserted::int FROM service_ops.poll_run WHERE rows_inserted > 0`,
  )
  assert.deepEqual(rows, [{ outcome: 'ran', rows_inserted: 1 }])
})
