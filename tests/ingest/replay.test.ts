import assert from 'node:assert/strict'
import { test } from 'node:test'
import { findMissing, replay } from '../../src/ingest/replay.ts'
import type { ApplyOptions, Missing } from '../../src/ingest/replay.ts'
import type { Scope } from '../support/scope.ts'
import { createIntake, POLLER, sourceOf } from './fixture.ts'
import { finishAll, forget, setEdge } from './sweeping.ts'

const MAY = { from: '2026-05-01T00:00:00Z', to: '2026-06-01T00:00:00Z' }

/** One row an hour from the first of May on, of which the inbox has none. */
async function createHours(t: Scope, hours: number) {
  const intake = await createIntake(
    t,
    'CREATE TABLE note (id int PRIMARY KEY, created_at timestamptz, body text)',
  )
  await intake.pool.query(
    `INSERT INTO note SELECT n, timestamptz '2026-05-01 00:00+00' + (n - 1) * interval '1 hour', '1' FROM generate_series(1, $1::integer) n`,
    [hours],
  )
  await intake.lead()
  await setEdge(intake, 'now()')
  const source = await intake.prepare(sourceOf('note', { payload: 'body' }))
  const options = { db: intake.program, name: POLLER, source, pageSize: 3 }
  const missing = (range = MAY): Promise<Missing> => findMissing(options, range)
  const apply = (more: Partial<ApplyOptions> = {}, range = MAY): ReturnType<typeof replay> =>
    replay(
      {
        ...options,
        maxAttempts: 3,
        includeForgotten: false,
        signal: new AbortController().signal,
        onRefusedRow: () => undefined,
        ...more,
      },
      range,
    )
  const taken = async (): Promise<number[]> =>
    (await intake.inbox()).map((row) => Number(row.message_id)).sort((a, b) => a - b)
  return { ...intake, missing, apply, taken }
}

test('a dry run names what is missing, in pages, and changes nothing', async (t) => {
  const { missing, taken, apply } = await createHours(t, 14)
  await apply({}, { from: '2026-05-01T02:00:00Z', to: '2026-05-01T03:00:00Z' })
  assert.deepEqual(await taken(), [3])
  const found = await missing()
  assert.deepEqual([found.looked, found.missing, found.forgotten, found.forgottenBefore], [14, 13, 0, null])
  assert.deepEqual(found.firstMissing, ['1', '2', '4', '5', '6', '7', '8', '9', '10', '11'])
  assert.deepEqual(await taken(), [3])
})

test('the range begins with --from and ends before --to', async (t) => {
  const { apply, taken } = await createHours(t, 5)
  const done = await apply({}, { from: '2026-05-01T01:00:00Z', to: '2026-05-01T03:00:00Z' })
  assert.deepEqual([done.looked, done.inserted, done.finished], [2, 2, true])
  assert.deepEqual(await taken(), [2, 3])
})

test('applied, it takes in what is missing, once, and what cannot be read as DEAD', async (t) => {
  const hours = await createHours(t, 8)
  const { pool, apply, taken } = hours
  await pool.query(`UPDATE note SET body = 'no json {' WHERE id IN (4, 7)`)
  const refused: string[] = []
  const done = await apply({ onRefusedRow: (_, row) => refused.push(row.message_id) })
  assert.deepEqual([done.inserted, refused], [8, ['4', '7']])
  assert.deepEqual(await taken(), [1, 2, 3, 4, 5, 6, 7, 8])
  assert.equal((await hours.inbox()).filter(({ status }) => status === 'DEAD').length, 2)
  assert.equal((await apply()).inserted, 0)
})

test('what retention has forgotten is listed apart, left out, and taken in only when told to', async (t) => {
  const hours = await createHours(t, 6)
  const { pool, missing, apply, taken } = hours
  await apply({}, { ...MAY, to: '2026-05-01T03:00:00Z' })
  await finishAll(hours)
  await pool.query(`UPDATE service_ops.integration_poll_watermark SET edge = '2026-05-01 04:00:01+00'`)
  await forget(hours)
  await pool.query(`INSERT INTO note VALUES (7, '2026-05-01 00:30+00', '1')`)
  assert.deepEqual(await taken(), [3])
  const found = await missing()
  assert.deepEqual([found.missing, found.firstMissing], [3, ['4', '5', '6']])
  // 1 and 2 were processed, 7 never was: nobody can tell.
  assert.deepEqual([found.forgotten, found.firstForgotten], [3, ['1', '7', '2']])
  assert.match(found.forgottenBefore ?? '', /^2026-05-01 01:00:00.000001/)
  assert.equal((await apply()).inserted, 3)
  assert.deepEqual(await taken(), [3, 4, 5, 6])
  assert.equal((await apply({ includeForgotten: true })).inserted, 3)
  assert.deepEqual(await taken(), [1, 2, 3, 4, 5, 6, 7])
})

test('rows that do not meet the condition are read page by page, and not counted', async (t) => {
  const hours = await createHours(t, 8)
  const source = await hours.prepare(sourceOf('note', { payload: 'body', where: 'id = 7' }))
  const options = { db: hours.pool, name: POLLER, source, pageSize: 3 }
  const { looked, missing, firstMissing } = await findMissing(options, MAY)
  assert.deepEqual([looked, missing, firstMissing], [1, 1, ['7']])
  const stopped = await hours.apply({ source, signal: AbortSignal.abort() })
  assert.deepEqual([stopped.looked, stopped.finished], [0, false])
  const done = await hours.apply({ source })
  assert.deepEqual([done.looked, done.inserted, await hours.taken()], [1, 1, [7]])
})

test('told to stop, it ends after the page at hand', async (t) => {
  const { apply, taken } = await createHours(t, 8)
  const done = await apply({ signal: AbortSignal.abort() })
  assert.deepEqual([done.finished, await taken()], [false, [1, 2, 3]])
})
