import assert from 'node:assert/strict'
import { test } from 'node:test'
import { forgetFinished } from '../../src/process/retention.ts'
import type { RetentionOptions, RetentionSlice, Walk } from '../../src/process/retention.ts'
import { LowWater } from '../../src/process/lowWater.ts'
import { raiseForgotten } from '../../src/tables/retention.ts'
import { createDatabase } from '../support/database.ts'
import type { Scope } from '../support/scope.ts'
import { until } from '../support/until.ts'

const DAY_MS = 86_400_000

/** A poller `orders` whose edge is at now, and an inbox. */
async function createInbox(scope: Scope) {
  const pool = (await createDatabase(scope)).pool()
  await pool.query(`
    INSERT INTO service_ops.background_task (id, task_name, kind, led, config_hash, release) VALUES (1, 'orders', 'poller', true, '', '');
    INSERT INTO service_ops.integration_poll_watermark (id, poller, holder, term, pass, edge) VALUES (1, 'orders', gen_random_uuid(), 1, 1, now());
    INSERT INTO service_ops.poll_candidate (poller, cand_ts, cand_vx, cand_boot) VALUES ('orders', now(), '{}', pg_postmaster_start_time())`)
  return {
    pool,
    /** Messages of one kind, taken in, written and processed that many days ago. */
    add: async (ids: string, days: number, set = ''): Promise<void> => {
      await pool.query(
        `INSERT INTO service_ops.integration_inbox (source, message_id, trace_id, status, created_at, source_created_at, processed_at)
         SELECT 'orders', id, 't', 'DONE', at, at, at FROM unnest(string_to_array($1, ' ')) id, (SELECT now() - $2 * interval '1 day' AS at) a`,
        [ids, days],
      )
      if (set !== '')
        await pool.query(
          `UPDATE service_ops.integration_inbox SET ${set} WHERE message_id = ANY (string_to_array($1, ' '))`,
          [ids],
        )
    },
    kept: async (): Promise<string> => {
      const { rows } = await pool.query<{ message_id: string }>(
        'SELECT message_id FROM service_ops.integration_inbox ORDER BY inbox_id',
      )
      return rows.map(({ message_id: id }) => id).join(' ')
    },
    forgottenBefore: async (): Promise<string | null> => {
      const { rows } = await pool.query<{ at: string | null }>(
        'SELECT forgotten_before::text AS at FROM service_ops.background_task',
      )
      return rows[0]?.at ?? null
    },
    forget: (options: Partial<RetentionOptions> = {}): Promise<RetentionSlice> =>
      forgetFinished({
        db: pool,
        name: 'orders',
        retentionMs: 7 * DAY_MS,
        signal: new AbortController().signal,
        ...options,
      }),
  }
}

test('what is finished is forgotten when written and processed long enough ago; nothing else is', async (t) => {
  const { pool, add, kept, forget } = await createInbox(t)
  await add('old older', 9)
  await add('dead', 9, `status = 'DEAD', processed_at = NULL, next_attempt_at = 'infinity'`)
  await add('open', 9, `status = 'NEW', processed_at = NULL`)
  await add('discarded', 9, `status = 'DISCARDED'`)
  await add('undated', 9, `source_created_at = NULL`)
  await add('done-lately', 9, `processed_at = now()`)
  await add('foreign', 9, `source = 'another'`)
  await add('young', 6)
  await add('newest', 0)
  assert.equal((await forget()).forgotten, 2)
  assert.equal(await kept(), 'dead open discarded undated done-lately foreign young newest')
  await pool.query(
    `UPDATE service_ops.integration_inbox SET status = 'DONE', processed_at = source_created_at WHERE message_id = 'open'`,
  )
  assert.equal((await forget()).forgotten, 1)
})

test('nothing is forgotten that is not a second below the edge, nor without a watermark', async (t) => {
  const { pool, add, kept, forget, forgottenBefore } = await createInbox(t)
  await add('far nearly near', 20)
  await add('newest', 0)
  await pool.query(
    `UPDATE service_ops.integration_inbox SET source_created_at = '2026-01-01 11:59:58.9+00' WHERE message_id = 'far'`,
  )
  await pool.query(
    `UPDATE service_ops.integration_inbox SET source_created_at = '2026-01-01 11:59:59+00' WHERE message_id = 'near'`,
  )
  await pool.query(
    `UPDATE service_ops.integration_inbox SET source_created_at = '2026-01-01 11:59:58.95+00' WHERE message_id = 'nearly'`,
  )
  await pool.query(`UPDATE service_ops.integration_poll_watermark SET edge = '2026-01-01 12:00+00'`)
  await forget()
  assert.equal(await kept(), 'near newest')
  assert.equal(await forgottenBefore(), '2026-01-01 11:59:58.950001+00')
  await pool.query('DELETE FROM service_ops.integration_poll_watermark')
  assert.equal((await forget({ retentionMs: 1 })).forgotten, 0)
  assert.equal(await forgottenBefore(), '2026-01-01 11:59:58.950001+00')
})

test('nothing is forgotten where rows are still to come after a step of the clock, behind the edge', async (t) => {
  const { pool, add, kept, forget, forgottenBefore } = await createInbox(t)
  await add('before', 20)
  await add('after', 18)
  await add('newest', 0)
  await pool.query(`UPDATE service_ops.poll_candidate SET scan_from = now() - interval '19 days'`)
  const { rows } = await pool.query<{ inbox_id: string }>(
    `SELECT inbox_id FROM service_ops.integration_inbox WHERE message_id = 'after'`,
  )
  // Who has looked before the step is told so when it says what it will forget.
  assert.equal(await raiseForgotten(pool, 'orders', [rows[0]?.inbox_id ?? '']), true)
  assert.equal(await forgottenBefore(), null)
  assert.equal((await forget()).forgotten, 1)
  assert.equal(await kept(), 'after newest')
  await pool.query('UPDATE service_ops.poll_candidate SET scan_from = NULL')
  await forget()
  assert.equal(await kept(), 'newest')
})

test('nothing is forgotten before the first pass after a reset', async (t) => {
  const { pool, add, kept, forget } = await createInbox(t)
  await add('old', 20)
  await add('newest', 0)
  await pool.query('DELETE FROM service_ops.poll_candidate')
  await forget()
  assert.equal(await kept(), 'old newest')
})

test('the bound is told of a step that it has waited for', async (t) => {
  const { pool, add, forgottenBefore } = await createInbox(t)
  await add('after', 18)
  const { rows } = await pool.query<{ inbox_id: string }>(
    'SELECT inbox_id FROM service_ops.integration_inbox',
  )
  const pass = await pool.connect()
  await pass.query('BEGIN')
  await pass.query('UPDATE service_ops.integration_poll_watermark SET pass = pass + 1')
  const raising = raiseForgotten(pool, 'orders', [rows[0]?.inbox_id ?? ''])
  await until('it to wait', async () => {
    const { rowCount } = await pool.query(
      `SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()`,
    )
    return rowCount === 1
  })
  await pass.query(`UPDATE service_ops.poll_candidate SET scan_from = now() - interval '19 days'`)
  await pass.query('COMMIT')
  pass.release()
  await raising
  assert.equal(await forgottenBefore(), null)
})

test('what passes may read again stays, however short the retention', async (t) => {
  const { add, kept, forget } = await createInbox(t)
  await add('old', 3)
  await add('read-again', 2)
  await add('newest', 0)
  const short = { retentionMs: 1_000, rereadMs: 2.5 * DAY_MS }
  assert.equal((await forget(short)).forgotten, 1)
  assert.equal(await kept(), 'read-again newest')
  assert.equal((await forget({ ...short, rereadMs: DAY_MS })).forgotten, 1)
})

test('the bound never goes back, whichever release with its own retention runs', async (t) => {
  const { add, kept, forget, forgottenBefore } = await createInbox(t)
  await add('a', 9)
  await add('b', 5)
  await add('newest', 0)
  await forget({ retentionMs: 4 * DAY_MS })
  assert.equal(await kept(), 'newest')
  const bound = await forgottenBefore()
  await forget({ retentionMs: 30 * DAY_MS })
  assert.equal(await forgottenBefore(), bound)
})

test('the newest message of all stays, so that nobody takes the database for one that went back', async (t) => {
  const { pool, add, kept, forget } = await createInbox(t)
  await add('a b c', 9)
  await pool.query(`INSERT INTO service_ops.inbox_low_water (source, low) VALUES ('orders', 3)`)
  const marks = new LowWater(pool, ['orders'])
  await marks.look()
  await forget()
  assert.equal(await kept(), 'c')
  // It throws when the newest number is lower than it was, and whoever starts then begins from nothing.
  await marks.look()
  assert.equal(await new LowWater(pool, ['orders']).low(), '3')
})

test('a message that somebody has locked is left to the next time, and nothing waits for it', async (t) => {
  const { pool, add, kept, forget } = await createInbox(t)
  await add('a b', 9)
  await add('newest', 0)
  const client = await pool.connect()
  await client.query('BEGIN')
  await client.query(`SELECT FROM service_ops.integration_inbox WHERE message_id = 'a' FOR UPDATE`)
  assert.equal((await forget()).forgotten, 1)
  await client.query('ROLLBACK')
  client.release()
  assert.equal((await forget()).forgotten, 1)
  assert.equal(await kept(), 'newest')
})

test('a message from the future, taken in when the clock was ahead, does not end the walk', async (t) => {
  const { add, kept, forget } = await createInbox(t)
  await add('ahead', 0, `created_at = now() + interval '30 days'`)
  await add('a b', 9)
  await add('newest', 0)
  const { forgotten, isThrough } = await forget({ batch: 2 })
  assert.deepEqual([forgotten, isThrough], [2, true])
  assert.equal(await kept(), 'ahead newest')
})

test('where nothing can be forgotten, nothing is locked', async (t) => {
  const { pool, add, kept, forget } = await createInbox(t)
  await add('a', 9)
  await add('b', 5)
  await add('newest', 0)
  await forget()
  const client = await pool.connect()
  await client.query('BEGIN')
  await client.query('SELECT FROM service_ops.integration_poll_watermark FOR UPDATE')
  await client.query('SELECT FROM service_ops.background_task FOR UPDATE')
  const { forgotten, isThrough } = await forget()
  assert.deepEqual([forgotten, isThrough], [0, true])
  await client.query('ROLLBACK')
  client.release()
  assert.equal(await kept(), 'b newest')
})

test('a long walk goes on where it was, and ends where messages are young', async (t) => {
  const { add, kept, forget } = await createInbox(t)
  await add('a b c d e', 9)
  await add('f g h i j k', 1)
  const walked: unknown[] = []
  for (let walk: Walk | undefined, isThrough = false; !isThrough;) {
    const slice = await forget({ sliceMs: 0, batch: 2, ...(walk && { walk }) })
    ;({ walk, isThrough } = slice)
    walked.push([slice.forgotten, walk.after])
  }
  // The next one begins where messages were young.
  assert.deepEqual(walked, [
    [2, '2'],
    [2, '4'],
    [1, '5'],
  ])
  assert.equal(await kept(), 'f g h i j k')
})

test('the next walk passes by what stays and what is not ours, but not what may be forgotten soon', async (t) => {
  const { pool, add, kept, forget } = await createInbox(t)
  await add('foreign', 9, `source = 'another'`)
  await add('dead', 9, `status = 'DEAD', processed_at = NULL, next_attempt_at = 'infinity'`)
  await add('undated', 9, `source_created_at = NULL`)
  await add('old', 9)
  await add('foreign-2', 9, `source = 'another'`)
  const before = await forget()
  assert.deepEqual([before.forgotten, before.walk.after], [1, '5'])
  await add('done-lately', 9, `processed_at = now()`)
  await add('locked', 9)
  await add('young newest', 1)
  const client = await pool.connect()
  await client.query('BEGIN')
  await client.query(`SELECT FROM service_ops.integration_inbox WHERE message_id = 'locked' FOR UPDATE`)
  const { forgotten, walk } = await forget({ walk: before.walk })
  assert.deepEqual([forgotten, walk.after], [0, '5'])
  await pool.query(
    `UPDATE service_ops.integration_inbox SET processed_at = source_created_at WHERE message_id = 'done-lately'`,
  )
  const later = await forget({ walk })
  assert.deepEqual([later.forgotten, later.walk.after], [1, '6'])
  await client.query('ROLLBACK')
  client.release()
  const last = await forget({ walk: later.walk })
  assert.deepEqual([last.forgotten, last.walk.after], [1, '7'])
  assert.equal(await kept(), 'foreign dead undated foreign-2 young newest')

  // A message that was put back is found once a day, by a walk from the beginning.
  await pool.query(
    `UPDATE service_ops.integration_inbox SET status = 'DONE', processed_at = source_created_at, next_attempt_at = NULL WHERE message_id = 'dead'`,
  )
  const due = await forget({ walk: { ...last.walk, wholeAt: performance.now() - DAY_MS } })
  assert.deepEqual([due.forgotten, due.walk.after], [0, '0'])
  assert.equal((await forget({ walk: due.walk })).forgotten, 1)
})
