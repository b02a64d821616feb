import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Queryable } from '../../src/db/pool.ts'
import { askForSweep, sweepPage } from '../../src/tables/sweep.ts'
import { createIntake, POLLER, sourceOf } from './fixture.ts'
import type { Intake } from './fixture.ts'
import { begunSweep, finishAll, forget, setEdge, sweeperOf, untilWaiting } from './sweeping.ts'
import type { Sweeper } from './sweeping.ts'

const NOTES = `CREATE TABLE note (id bigint PRIMARY KEY, created_at timestamptz, body text); CREATE INDEX ON note (created_at, id)`

const oneTo = (n: number): string[] => Array.from({ length: n }, (_, i) => String(i + 1))

/** A poller whose edge is at noon of the first of June. */
async function atNoon(t: Parameters<typeof createIntake>[0], ddl = NOTES): Promise<Intake & Sweeper> {
  const intake = await createIntake(t, ddl)
  await intake.lead()
  await setEdge(intake, `'2026-06-01 12:00:00+00'`)
  const source = await intake.prepare(sourceOf('note', { payload: 'body' }))
  return { ...intake, ...sweeperOf(intake, source) }
}

const ids = async ({ inbox }: Pick<Intake, 'inbox'>): Promise<string[]> =>
  (await inbox()).map((row) => row.message_id).sort((a, b) => Number(a) - Number(b))

describe('a sweep', () => {
  test('takes in every row below the edge, whatever its time, and none above it', async (t) => {
    const intake = await atNoon(t)
    await intake.pool.query(`INSERT INTO note (id, created_at) VALUES
      (1, '-infinity'), (-9223372036854775808, '-infinity'), (2, '2026-05-01'), (3, '2026-05-01'), (4, '2026-05-01'), (5, '2026-05-01'),
      (6, '2026-06-01 11:59:59.999999+00'), (7, NULL), (8, NULL), (9, NULL),
      (20, '2026-06-01 12:00:00+00'), (21, '2099-01-01'), (22, 'infinity')`)
    await intake.pool.query(`UPDATE note SET body = '1'`)
    assert.equal(await intake.sweep(), 'through')
    assert.deepEqual(await ids(intake), ['-9223372036854775808', ...oneTo(9)])
    assert.deepEqual(
      intake.log.of('sweep_found').map(({ rows, undated, oldest }) => [rows, undated, oldest]),
      [[10, 3, '-infinity']],
    )
    const [through] = intake.log.of('sweep_completed')
    assert.deepEqual([through?.rows_read, through?.found], [10, 10])
    assert.equal(await intake.sweep(), 'through')
    assert.deepEqual([intake.log.of('sweep_found').length, (await intake.inbox()).length], [1, 10])
  })

  test('takes in rows of a timestamp without zone, and ids that are text', async (t) => {
    const intake = await createIntake(
      t,
      `CREATE TABLE note (id text PRIMARY KEY, created_at timestamp);
       INSERT INTO note VALUES ('', '-infinity'), ('b', '2026-06-01 11:00'), ('a', '2026-06-01 11:00'), ('é', NULL), ('after', '2026-06-01 12:00')`,
    )
    await intake.lead()
    await setEdge(intake, `'2026-06-01 12:00:00+00'`)
    await intake.pool.query(
      `ALTER DATABASE ${(await intake.pool.query<{ d: string }>('SELECT current_database() AS d')).rows[0]?.d ?? ''} SET timezone = 'Asia/Tokyo'`,
    )
    const source = await intake.prepare(sourceOf('note', { timeZone: 'UTC' }))
    assert.equal(await sweeperOf(intake, source).sweep({ pageSize: 1 }), 'through')
    assert.deepEqual(
      (await intake.inbox()).map((row) => row.message_id),
      ['é', '', 'a', 'b'],
    )
  })

  test('takes in a row that cannot be read as DEAD, dated or not, and its neighbours as ever', async (t) => {
    const intake = await atNoon(t)
    await intake.pool.query(
      `INSERT INTO note SELECT n, CASE WHEN n > 3 THEN timestamptz '2026-05-01' END, CASE WHEN n IN (2, 5) THEN 'no json {' ELSE '1' END
         FROM generate_series(1, 6) n`,
    )
    assert.equal(await intake.sweep({ pageSize: 10 }), 'through')
    const inbox = await intake.inbox()
    assert.deepEqual(inbox.map((row) => `${row.message_id} ${row.status}`).sort(), [
      '1 NEW',
      '2 DEAD',
      '3 NEW',
      '4 NEW',
      '5 DEAD',
      '6 NEW',
    ])
    assert.equal(intake.log.of('row_refused').length, 2)
  })

  test('reads no more than a page of rows that are not wanted, and takes in those of which nobody can tell as DEAD', async (t) => {
    const intake = await atNoon(t)
    await intake.pool.query(
      `INSERT INTO note SELECT n, CASE WHEN n > 3 THEN timestamptz '2026-05-01' END, CASE n WHEN 9 THEN '1' WHEN 5 THEN 'odd' ELSE '0' END
         FROM generate_series(1, 9) n`,
    )
    const { sweep, log } = sweeperOf(
      intake,
      await intake.prepare(sourceOf('note', { payload: 'body', where: 'body::integer > 0 -- counted' })),
    )
    const position = async (): Promise<unknown> =>
      (await intake.pool.query('SELECT undated, scan_id FROM service_ops.poll_sweep')).rows[0]
    assert.equal(await sweep({ sliceMs: 0 }), 'under way')
    assert.deepEqual(await position(), { undated: true, scan_id: '2' })
    assert.equal(await sweep({ sliceMs: 0 }), 'under way')
    assert.equal(await sweep({ sliceMs: 0, pageSize: 1 }), 'under way')
    assert.deepEqual(await position(), { undated: false, scan_id: '4' })
    assert.equal(await sweep(), 'through')
    assert.deepEqual(
      (await intake.inbox()).map((row) => `${row.message_id} ${row.status}`),
      ['5 DEAD', '9 NEW'],
    )
    assert.equal(log.of('sweep_completed')[0]?.rows_read, 2)
  })

  test('that ended half way goes on where it was, and counts as one', async (t) => {
    const intake = await atNoon(t)
    await intake.pool.query(
      `INSERT INTO note SELECT n, CASE WHEN n > 3 THEN timestamptz '2026-05-01' END, '1' FROM generate_series(1, 9) n`,
    )
    let slices = 0
    while ((await intake.sweep({ sliceMs: 0 })) === 'under way') slices += 1
    assert.deepEqual(await ids(intake), oneTo(9))
    assert.equal(slices, 5)
    const { rows } = await intake.pool.query('SELECT looked, found, found_total FROM service_ops.poll_sweep')
    assert.deepEqual(rows, [{ looked: '9', found: '9', found_total: '9' }])
  })

  test('is followed by another when one was asked for meanwhile', async (t) => {
    const intake = await atNoon(t)
    await intake.pool.query(`INSERT INTO note SELECT n, '2026-05-01', '1' FROM generate_series(1, 3) n`)
    await askForSweep(intake.program, POLLER)
    assert.equal(await intake.sweep({ sliceMs: 0 }), 'under way')
    await intake.pool.query(`INSERT INTO note VALUES (4, '2026-04-01', '1')`)
    await askForSweep(intake.program, POLLER)
    assert.equal(await intake.sweep(), 'again')
    assert.equal(await intake.sweep(), 'through')
    assert.deepEqual(await ids(intake), oneTo(4))
  })

  test('is followed by one that was asked for after its last page, while its job was not over', async (t) => {
    const intake = await atNoon(t)
    await intake.pool.query(`INSERT INTO note VALUES (1, '2026-05-01', '1')`)
    let asked = false
    const db: Queryable = {
      async query(text, values) {
        const result = await intake.pool.query(text, values === undefined ? [] : [...values])
        if (!asked && JSON.stringify(result.rows).includes('"more":false')) {
          asked = true
          await askForSweep(intake.program, POLLER)
        }
        return result
      },
    }
    assert.equal(await intake.sweep({ db }), 'again')
    assert.equal(await intake.sweep({ db }), 'through')
  })

  test('stands still while the poller is paused, and goes on where it was', async (t) => {
    const intake = await atNoon(t)
    await intake.pool.query(`INSERT INTO note SELECT n, '2026-05-01', '1' FROM generate_series(1, 5) n`)
    while ((await ids(intake)).length === 0) assert.equal(await intake.sweep({ sliceMs: 0 }), 'under way')
    const { turn } = await begunSweep(intake.program, true)
    await intake.pool.query('UPDATE service_ops.background_task SET paused = true')
    const { page } = (await intake.prepare(sourceOf('note'))).sweep
    assert.equal(await sweepPage(intake.program, page.dated, POLLER, turn, 2, 3, null), undefined)
    assert.equal(await intake.sweep(), 'refused')
    assert.deepEqual(await ids(intake), oneTo(2))
    await intake.pool.query('UPDATE service_ops.background_task SET paused = false')
    assert.equal(await intake.sweep(), 'through')
    assert.equal(intake.log.of('sweep_completed')[0]?.rows_read, 5)
  })

  test('does nothing while the poller has no watermark, or is not known', async (t) => {
    const intake = await createIntake(t, `${NOTES}; INSERT INTO note VALUES (1, '2026-05-01', '1')`)
    const { sweep } = sweeperOf(intake, await intake.prepare(sourceOf('note', { payload: 'body' })))
    assert.equal(await sweep(), 'refused')
    await intake.lead()
    await setEdge(intake, 'now()')
    await intake.pool.query('DELETE FROM service_ops.background_task')
    assert.equal(await sweep(), 'refused')
    assert.deepEqual(await intake.inbox(), [])
  })
})

describe('a sweeper whose sweep another goes on with', () => {
  test('is refused, also when its page waits for the other’s', async (t) => {
    const intake = await atNoon(t)
    await intake.pool.query(`INSERT INTO note VALUES (1, '2026-05-01', '1')`)
    const source = await intake.prepare(sourceOf('note', { payload: 'body' }))
    const stale = await begunSweep(intake.program)
    const page = (turn: string): Promise<unknown> =>
      sweepPage(intake.program, source.sweep.page.dated, POLLER, turn, 2, 3, null)
    const other = await intake.pool.connect()
    await other.query('BEGIN')
    const fresh = await begunSweep(other)
    const waiting = page(stale.turn)
    await untilWaiting(intake)
    await other.query('COMMIT')
    other.release()
    assert.equal(await waiting, undefined)
    assert.equal(await page(stale.turn), undefined)
    assert.deepEqual(await intake.inbox(), [])
    assert.notEqual(await page(fresh.turn), undefined)
    assert.deepEqual(await ids(intake), ['1'])
  })
})

describe('what retention has forgotten', () => {
  test('is not taken in again by a sweep or a pass, and what was never taken in stays out too', async (t) => {
    const intake = await atNoon(t)
    await intake.pool.query(
      `INSERT INTO note SELECT n, timestamptz '2026-05-01' + n * interval '1 hour', '1' FROM generate_series(1, 9) n`,
    )
    assert.equal(await intake.sweep(), 'through')
    await finishAll(intake)
    assert.equal((await forget(intake)).forgotten, 8)
    await intake.pool.query(`INSERT INTO note VALUES (10, '2026-05-01', '1'), (11, NULL, '1')`)
    assert.equal(await intake.sweep(), 'through')
    assert.deepEqual(await ids(intake), ['9', '11'])
    assert.match(intake.log.of('sweep_completed').at(-1)?.from ?? '', /^2026-05-01 08:00:00.000001/)

    // A pass that goes back behind the edge, as after a clock that stepped back.
    const source = await intake.prepare(sourceOf('note', { payload: 'body' }))
    const { rowsRead } = await intake.pass(source, await intake.lead(), { sinceMs: 10 * 366 * 86_400_000 })
    assert.equal(rowsRead, 10)
    assert.deepEqual(await ids(intake), ['9', '11'])
  })

  test('moves past a sweep under way, which goes on at the new bound', async (t) => {
    const intake = await atNoon(t)
    await intake.pool.query(
      `INSERT INTO note SELECT n, timestamptz '2026-05-01' + n * interval '1 hour', '1' FROM generate_series(1, 9) n`,
    )
    assert.equal(await intake.sweep({ sliceMs: 0 }), 'under way')
    assert.equal(await intake.sweep({ sliceMs: 0 }), 'under way')
    assert.deepEqual(await ids(intake), ['1', '2'])
    await finishAll(intake)
    await intake.pool.query(`UPDATE service_ops.background_task SET forgotten_before = '2026-05-01 05:00+00'`)
    assert.equal((await forget(intake, 20 * 366 * 86_400_000)).forgotten, 0)
    assert.equal(await intake.sweep(), 'through')
    assert.deepEqual(await ids(intake), ['1', '2', '5', '6', '7', '8', '9'])
  })
})
