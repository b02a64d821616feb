import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ResetRefused } from '../../src/errors.ts'
import { previewReset, resetPoller } from '../../src/ingest/reset.ts'
import type { PreparedSource } from '../../src/ingest/sourceSql.ts'
import { recordRun } from '../../src/tables/pollRun.ts'
import { replayPage } from '../../src/tables/replay.ts'
import { sweepPage } from '../../src/tables/sweep.ts'
import { beginPass, readPage, remakeWatermark } from '../../src/tables/watermark.ts'
import type { Scope } from '../support/scope.ts'
import { createIntake, POLLER, sourceOf } from './fixture.ts'
import type { Intake } from './fixture.ts'
import { begunSweep, setEdge, sweeperOf, untilWaiting } from './sweeping.ts'

const DAY = "timestamptz '2026-05-01 00:00+00'"

/** Rows 1 to 9, one a day from the first of May on; the edge is at noon of the fifth. */
async function createDays(t: Scope): Promise<Intake & { source: PreparedSource }> {
  const intake = await createIntake(
    t,
    `CREATE TABLE note (id int PRIMARY KEY, created_at timestamptz NOT NULL);
     INSERT INTO note SELECT n, ${DAY} + (n - 1) * interval '1 day' FROM generate_series(1, 9) n`,
  )
  const source = await intake.prepare(sourceOf('note'))
  await intake.pool.query('UPDATE service_ops.background_task SET source_table = $1, source_columns = $2', [
    source.table,
    JSON.stringify(source.columns),
  ])
  await intake.lead()
  await setEdge(intake, `${DAY} + interval '4.5 days'`)
  return { ...intake, source }
}

const reset = async (intake: Intake, source: PreparedSource, from: string): Promise<string> => {
  const client = await intake.pool.connect()
  try {
    await client.query('BEGIN')
    const edge = await resetPoller(client, POLLER, source, from)
    await client.query('COMMIT')
    return edge
  } catch (error) {
    await client.query('ROLLBACK')
    throw error
  } finally {
    client.release()
  }
}

const ids = async (intake: Intake): Promise<number[]> =>
  (await intake.inbox()).map((row) => Number(row.message_id)).sort((a, b) => a - b)

/** The only value of a query of one row. */
async function value(intake: Intake, sql: string): Promise<unknown> {
  const { rows } = await intake.pool.query<{ v: unknown }>(sql)
  return rows[0]?.v
}

const EDGE_HELD = `SELECT ok AS v FROM service_ops.verify() WHERE "name" = 'edge_never_moved_back'`

test('a start behind the edge reads again from there, and takes in what is not in the inbox', async (t) => {
  const intake = await createDays(t)
  const options = { db: intake.program, name: POLLER, source: intake.source, pageSize: 2 }
  const preview = await previewReset(options, '2026-05-03T00:00:00Z')
  assert.deepEqual([preview.skipped, preview.read, preview.known, preview.isOtherSource], [0, 3, 0, false])
  assert.equal(await reset(intake, intake.source, '2026-05-03T00:00:00Z'), '2026-05-03 00:00:00+00')
  await intake.pass(intake.source, await intake.lead())
  assert.deepEqual(await ids(intake), [3, 4, 5, 6, 7, 8, 9])
  assert.equal(await value(intake, 'SELECT forgotten_before AS v FROM service_ops.background_task'), null)
  assert.equal(await value(intake, EDGE_HELD), true)
})

test('a start ahead of the edge leaves out what lies before, for the sweep as well, and says how much', async (t) => {
  const intake = await createDays(t)
  const options = { db: intake.program, name: POLLER, source: intake.source, pageSize: 2 }
  const preview = await previewReset(options, '2026-05-08T00:00:00Z')
  assert.deepEqual([preview.skipped, preview.read, preview.known], [2, 2, 0])
  await reset(intake, intake.source, '2026-05-08T00:00:00Z')
  await intake.pass(intake.source, await intake.lead())
  await sweeperOf(intake, intake.source).sweep()
  assert.deepEqual(await ids(intake), [8, 9])
})

for (const [known, skipped] of [
  ['an edge in the ledger', 2],
  ['none', 7],
] as const)
  test(`also while the watermark is missing, with ${known}`, async (t) => {
    const intake = await createDays(t)
    if (skipped === 2)
      await intake.pool.query(
        `INSERT INTO service_ops.poll_run (poller, due_at, started_at, outcome, edge, term, instance_id)
         SELECT poller, now(), now(), 'ran', edge, term, 'test' FROM service_ops.integration_poll_watermark`,
      )
    await intake.pool.query('DELETE FROM service_ops.integration_poll_watermark')
    const options = { db: intake.program, name: POLLER, source: intake.source, pageSize: 2 }
    const preview = await previewReset(options, '2026-05-08T00:00:00Z')
    assert.deepEqual([preview.skipped, preview.read], [skipped, 2])
    await reset(intake, intake.source, '2026-05-08T00:00:00Z')
    await intake.pass(intake.source, await intake.lead())
    await sweeperOf(intake, intake.source).sweep()
    assert.deepEqual(await ids(intake), [8, 9])
  })

test('a start in what is forgotten is moved up to its end', async (t) => {
  const intake = await createDays(t)
  await intake.pool.query(`UPDATE service_ops.background_task SET forgotten_before = '2026-05-04 00:00+00'`)
  assert.equal(await reset(intake, intake.source, '2026-05-02T00:00:00Z'), '2026-05-04 00:00:00+00')
})

test('a start in the future is refused, and so is that of a poller nobody knows', async (t) => {
  const intake = await createDays(t)
  const options = { db: intake.program, name: POLLER, source: intake.source, pageSize: 2 }
  await assert.rejects(previewReset(options, '2099-01-01T00:00:00Z'), ResetRefused)
  await intake.pool.query('DELETE FROM service_ops.background_task')
  await assert.rejects(reset(intake, intake.source, 'now'), { name: 'PollerUnknown' })
  assert.equal(await value(intake, 'SELECT count(*)::integer AS v FROM service_ops.poll_run'), 0)
})

for (const [name, begin] of [
  [
    'a replay',
    async (intake: Intake, { replay }: PreparedSource) => {
      const range = { from: '-infinity', to: 'infinity', includeForgotten: false }
      const start = { scanTs: null, scanId: null }
      return () => replayPage(intake.program, replay.page, POLLER, range, start, 9, 3, null)
    },
  ],
  [
    'a sweep',
    async (intake: Intake, { sweep }: PreparedSource) => {
      const { turn } = await begunSweep(intake.program)
      return () => sweepPage(intake.program, sweep.page.dated, POLLER, turn, 9, 3, null)
    },
  ],
] as const)
  test(`waits for the page of ${name}, which goes by the bound that it raises`, async (t) => {
    const intake = await createDays(t)
    const take = await begin(intake, intake.source)
    const other = await intake.pool.connect()
    await other.query('BEGIN')
    await other.query(
      `INSERT INTO service_ops.integration_inbox (source, message_id, trace_id) VALUES ('${POLLER}', '1', 't')`,
    )
    const [taking, start] = [take(), '2026-05-08T00:00:00Z']
    await untilWaiting(intake)
    const resetting = reset(intake, intake.source, start)
    await untilWaiting(intake, 2)
    await other.query('ROLLBACK')
    other.release()
    assert.notEqual(await taking, undefined)
    await resetting
    assert.ok((await ids(intake)).includes(1))
    await intake.pool.query('TRUNCATE service_ops.integration_inbox')
    await take()
    assert.deepEqual(
      (await ids(intake)).filter((id) => id < 8),
      [],
    )
  })

test('a page of the pass under way is refused, also one that waits for the reset', async (t) => {
  const intake = await createDays(t)
  const fence = await intake.lead()
  const begun = await beginPass(intake.program, fence, 0)
  assert.ok(begun !== undefined)
  const page = (): Promise<unknown> =>
    readPage(intake.program, intake.source.page, { ...fence, pass: begun.pass }, 2, 3, null)
  assert.notEqual(await page(), undefined)
  const client = await intake.pool.connect()
  await client.query('BEGIN')
  await resetPoller(client, POLLER, intake.source, '2026-05-08T00:00:00Z')
  const waiting = page()
  await untilWaiting(intake)
  await client.query('COMMIT')
  client.release()
  assert.equal(await waiting, undefined)
  assert.equal(await page(), undefined)
  assert.equal(await beginPass(intake.program, { ...fence, pass: begun.pass }, 0), undefined)
})

test('a watermark that is made again goes on from the reset, whatever the old leader records later', async (t) => {
  const intake = await createDays(t)
  const old = await intake.lead()
  await reset(intake, intake.source, '2026-05-02T00:00:00Z')
  await recordRun(intake.program, {
    ...{
      poller: POLLER,
      dueMsAgo: 0,
      startedMsAgo: 0,
      outcome: 'ran',
      rowsRead: 0,
      rowsInserted: 0,
      lateRows: 0,
    },
    ...{ edge: '2026-05-05T12:00:00Z', term: old.term, instanceId: 'old', error: null },
  })
  await intake.pool.query('DELETE FROM service_ops.integration_poll_watermark')
  await intake.lead()
  assert.equal(
    await value(intake, 'SELECT edge::text AS v FROM service_ops.integration_poll_watermark'),
    '2026-05-02 00:00:00+00',
  )
  assert.equal(await value(intake, EDGE_HELD), true)
})

test('one that is lost under the leader after a reset, too', async (t) => {
  const intake = await createDays(t)
  const old = await intake.lead()
  await intake.pass(intake.source, old)
  await recordRun(intake.program, {
    ...{ poller: POLLER, dueMsAgo: 0, startedMsAgo: 0, outcome: 'ran' },
    ...{ rowsRead: 0, rowsInserted: 0, lateRows: 0, instanceId: 'old', error: null },
    ...{ edge: '2026-05-05T12:00:00Z', term: old.term },
  })
  await reset(intake, intake.source, '2026-05-02T00:00:00Z')
  const fence = await intake.lead()
  await intake.pool.query('DELETE FROM service_ops.integration_poll_watermark')
  assert.deepEqual(await remakeWatermark(intake.program, fence), { edge: '2026-05-02 00:00:00+00' })
})

test('another source begins at the start, with ids of another type; nobody may lead the old one meanwhile', async (t) => {
  const intake = await createDays(t)
  await intake.pass(intake.source, await intake.lead())
  await intake.pool.query(`
    CREATE TABLE letter (name text PRIMARY KEY, at timestamptz NOT NULL DEFAULT now());
    INSERT INTO letter VALUES ('old', '2026-05-01'), ('9', '2026-05-20'), ('new', '2026-05-20')`)
  const letters = await intake.prepare(sourceOf('letter', { id: 'name', createdAt: 'at' }))
  await assert.rejects(
    reset(intake, letters, '2026-05-10T00:00:00Z'),
    /leads it and still reads public\.note/,
  )
  await intake.pool.query('UPDATE service_ops.background_task_leader SET expires_at = now()')
  const preview = await previewReset(
    { db: intake.program, name: POLLER, source: letters, pageSize: 2 },
    '2026-05-10T00:00:00Z',
  )
  assert.deepEqual([preview.isOtherSource, preview.skipped, preview.read, preview.known], [true, null, 2, 1])
  await reset(intake, letters, '2026-05-10T00:00:00Z')
  await intake.pass(letters, await intake.lead())
  await sweeperOf(intake, letters).sweep()
  const names = (await intake.inbox()).map((row) => row.message_id)
  assert.ok(names.includes('new') && !names.includes('old'), names.join())
})
