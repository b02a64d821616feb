import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Queryable } from '../../src/db/pool.ts'
import { replayPage } from '../../src/tables/replay.ts'
import { sweepPage } from '../../src/tables/sweep.ts'
import { beginPass, readPage } from '../../src/tables/watermark.ts'
import type { PreparedSource } from '../../src/ingest/sourceSql.ts'
import { createIntake, POLLER, sourceOf } from './fixture.ts'
import type { Intake } from './fixture.ts'
import { begunSweep, finishAll, forget, raise, setEdge, sweeperOf, untilWaiting } from './sweeping.ts'

/*
 * The race that would take a forgotten row in a second time: a statement that takes rows in looks at the inbox, then waits
 * for a lock; meanwhile the row that it missed is taken in by another, processed, forgotten and deleted. Each of the three
 * statements is tried, with what keeps it from that, and without.
 */

const NOTES = `CREATE TABLE note (id bigint PRIMARY KEY, created_at timestamptz)`
const RANGE = { from: '-infinity', to: 'infinity', includeForgotten: false }
const YEARS_MS = 10 * 366 * 86_400_000

interface Taker {
  readonly name: string
  /** Prepares the statement, and says how to run it and which row its first step locks. */
  prepare(
    intake: Intake,
    source: PreparedSource,
  ): Promise<{ take: (db: Queryable, mutate?: (sql: string) => string) => Promise<unknown>; lock: string }>
}

const same = (sql: string): string => sql

const TAKERS: readonly Taker[] = [
  {
    name: 'a page of a pass',
    async prepare(intake, source) {
      const fence = await intake.lead()
      await setEdge(intake, `now() - interval '1 minute'`)
      const begun = await beginPass(intake.program, fence, 0, YEARS_MS)
      assert.ok(begun !== undefined)
      // A release from before it knew of scan_from may forget where a pass still reads.
      await intake.pool.query('UPDATE service_ops.poll_candidate SET scan_from = NULL')
      const present = { ...fence, pass: begun.pass }
      return {
        take: (db, mutate = same) => readPage(db, { text: mutate(source.page.text) }, present, 100, 3, null),
        lock: 'SELECT FROM service_ops.integration_poll_watermark FOR UPDATE',
      }
    },
  },
  {
    name: 'a page of a sweep',
    async prepare(intake, source) {
      await intake.lead()
      await setEdge(intake, `now() - interval '1 minute'`)
      const { turn } = await begunSweep(intake.program)
      return {
        take: (db, mutate = same) =>
          sweepPage(db, mutate(source.sweep.page.dated), POLLER, turn, 100, 3, null),
        lock: 'SELECT FROM service_ops.poll_sweep FOR UPDATE',
      }
    },
  },
  {
    name: 'a page of a replay',
    async prepare(intake, source) {
      await intake.lead()
      await setEdge(intake, `now() - interval '1 minute'`)
      const start = { scanTs: null, scanId: null }
      return {
        take: (db, mutate = same) =>
          replayPage(db, mutate(source.replay.page), POLLER, RANGE, start, 100, 3, null),
        lock: 'SELECT FROM service_ops.background_task FOR UPDATE',
      }
    },
  },
]

async function prepared(t: Parameters<typeof createIntake>[0], taker: Taker) {
  const intake = await createIntake(t, NOTES)
  await intake.pool.query(`INSERT INTO note VALUES (1, now() - interval '2 days')`)
  const source = await intake.prepare(sourceOf('note'))
  return { intake, ...(await taker.prepare(intake, source)) }
}

/** What happens to row 1 while the statement waits: all that can happen to a row. */
async function takenProcessedForgotten(db: Queryable): Promise<void> {
  await db.query(
    `INSERT INTO service_ops.integration_inbox (source, message_id, trace_id, source_created_at, status, processed_at)
     SELECT '${POLLER}', id::text, 't', created_at, 'DONE', now() FROM note`,
  )
  await db.query(`UPDATE service_ops.background_task SET forgotten_before = now() - interval '1 day'`)
  await db.query(`DELETE FROM service_ops.integration_inbox WHERE source = '${POLLER}'`)
}

const holds = async (intake: Intake): Promise<number> => {
  const { rows } = await intake.pool.query<{ n: number }>(
    `SELECT count(*)::integer AS n FROM service_ops.integration_inbox WHERE source = '${POLLER}' AND message_id = '1'`,
  )
  return rows[0]?.n ?? 0
}

for (const taker of TAKERS) {
  describe(taker.name, () => {
    const waited = async (
      t: Parameters<typeof createIntake>[0],
      mutate?: (sql: string) => string,
    ): Promise<number> => {
      const { intake, take, lock } = await prepared(t, taker)
      const blocker = await intake.pool.connect()
      try {
        await blocker.query('BEGIN')
        await blocker.query(lock)
        const taking = take(intake.pool, mutate)
        await untilWaiting(intake)
        await takenProcessedForgotten(blocker)
        await blocker.query('COMMIT')
        await taking
        return await holds(intake)
      } finally {
        blocker.release()
      }
    }

    test('that waited while its row was processed and forgotten leaves it out', async (t) => {
      assert.equal(await waited(t), 0)
    })
    test('would take it in a second time if it went by the bound of its snapshot', async (t) => {
      const plain =
        'SELECT b.forgotten_before AS at FROM k JOIN service_ops.background_task b USING (task_name)'
      const bound = 'SELECT service_ops.forgotten_before(k.task_name) AS at FROM k'
      assert.equal(await waited(t, (sql) => sql.replace(bound, plain)), 1)
    })

    test('keeps the bound where it is until its transaction ends, and who raises it does not wait', async (t) => {
      const { intake, take } = await prepared(t, taker)
      const client = await intake.pool.connect()
      await client.query('BEGIN')
      await take(client)
      // The page of a pass has the watermark, too, for which a raise would wait, with nothing that others wait for.
      if (taker.name !== 'a page of a pass') assert.equal(await raise(intake.pool), false)
      await client.query('COMMIT')
      client.release()
      assert.equal(await raise(intake.pool), true)
      assert.equal(await holds(intake), 1)
    })

    test('waits for a raise under way, and goes by it', async (t) => {
      const { intake, take } = await prepared(t, taker)
      const client = await intake.pool.connect()
      await client.query('BEGIN')
      assert.equal(await raise(client), true)
      const taking = take(intake.pool)
      await untilWaiting(intake)
      await client.query('COMMIT')
      client.release()
      await taking
      assert.equal(await holds(intake), 0)
    })

    test('is not held up by a pause of the task', async (t) => {
      const { intake, take } = await prepared(t, taker)
      const client = await intake.pool.connect()
      await client.query('BEGIN')
      await client.query('UPDATE service_ops.background_task SET paused = true')
      await take(intake.pool)
      assert.equal(await holds(intake), 1)
      await client.query('COMMIT')
      client.release()
    })
  })
}

test('a raise that met a reset in the making goes by the new edge', async (t) => {
  const intake = await createIntake(t, NOTES)
  await intake.lead()
  await setEdge(intake, 'now()')
  const client = await intake.pool.connect()
  await client.query('BEGIN')
  await client.query(`UPDATE service_ops.integration_poll_watermark SET edge = '2026-01-01 00:00+00'`)
  const raising = raise(intake.pool)
  await untilWaiting(intake)
  await client.query('COMMIT')
  client.release()
  await raising
  const { rows } = await intake.pool.query('SELECT forgotten_before FROM service_ops.background_task')
  assert.deepEqual(rows, [{ forgotten_before: null }])
  assert.equal((await forget(intake)).forgotten, 0)
})

test('a clock that is ahead for a moment shuts nothing out that is written afterwards', async (t) => {
  const intake = await createIntake(t, NOTES)
  const source = await intake.prepare(sourceOf('note'))
  // Seen from a clock that is eight days ahead; it is right again when the next row is written.
  await intake.pool.query(`INSERT INTO note VALUES (1, now() - interval '8 days')`)
  let { fence } = await intake.pass(source, await intake.lead())
  ;({ fence } = await intake.pass(source, fence))
  await finishAll(intake)
  await intake.pool.query(
    `INSERT INTO service_ops.integration_inbox (source, message_id, trace_id) VALUES ('x', 'newest', 't')`,
  )
  assert.equal((await forget(intake, 7 * 86_400_000)).forgotten, 1)
  await intake.pool.query(`INSERT INTO note VALUES (2, now() - interval '8 days' + interval '1 minute')`)
  await sweeperOf(intake, source).sweep()
  const { rows } = await intake.pool.query(
    `SELECT message_id FROM service_ops.integration_inbox WHERE source = '${POLLER}'`,
  )
  assert.deepEqual(rows, [{ message_id: '2' }])
})
