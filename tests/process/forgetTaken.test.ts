import assert from 'node:assert/strict'
import { test } from 'node:test'
import { forgetFinishedTaken } from '../../src/process/forgetTaken.ts'
import type { Walk } from '../../src/process/retention.ts'
import { createDatabase } from '../support/database.ts'

const HOUR_MS = 3_600_000

for (const [what, made] of [
  [
    'is registered',
    `INSERT INTO service_ops.background_task (id, task_name, kind, led, config_hash, release)
     VALUES (7, 'orders', 'poller', true, 'h', 'r')`,
  ],
  [
    'has a watermark',
    `INSERT INTO service_ops.integration_poll_watermark (id, poller, edge, holder, term, pass)
     VALUES (7, 'orders', now(), gen_random_uuid(), 1, 1)`,
  ],
  ['has brought them', `UPDATE service_ops.integration_inbox SET source_created_at = now() - interval '3h'`],
] as const) {
  test(`messages are left to a poller of the same name: it ${what}`, async (t) => {
    const pool = (await createDatabase(t)).pool()
    await pool.query(`
      INSERT INTO service_ops.integration_inbox (source, message_id, trace_id, status, created_at, processed_at)
      SELECT 'orders', n, 't', 'DONE', now() - interval '3h', now() - interval '2h' FROM generate_series(1, 3) n`)
    const forget = () => {
      const signal = new AbortController().signal
      return forgetFinishedTaken({ db: pool, intake: 'orders', retentionMs: HOUR_MS, signal })
    }
    await pool.query(made)
    const first = await forget()
    assert.deepEqual([first.forgotten, first.isThrough, first.walk.soon], [0, true, null])
  })
}

test('what is finished for longer than the retention is forgotten, and nothing else', async (t) => {
  const pool = (await createDatabase(t)).pool()
  await pool.query(`
    INSERT INTO service_ops.integration_inbox (source, message_id, trace_id, status, created_at, processed_at, next_attempt_at)
    SELECT source, id, 't', status, now() - taken, now() - done, CASE WHEN status = 'DEAD' THEN timestamptz 'infinity' END
      FROM (VALUES ('orders', 'old', 'DONE', interval '3h', interval '2h'),
                   ('orders', 'finished lately', 'DONE', '3h', '10min'),
                   ('orders', 'given up', 'DEAD', '3h', NULL),
                   ('orders', 'discarded', 'DISCARDED', '3h', '2h'),
                   ('orders', 'open', 'NEW', '3h', NULL),
                   ('other', 'of another', 'DONE', '3h', '2h'),
                   ('orders', 'old, too', 'DONE', '2h', '2h'),
                   ('orders', 'newest', 'DONE', '2h', '2h')) v(source, id, status, taken, done)`)
  const forget = async (walk?: Walk) => {
    const signal = new AbortController().signal
    return forgetFinishedTaken({ db: pool, intake: 'orders', retentionMs: HOUR_MS, signal, batch: 2, walk })
  }
  const left = async (): Promise<string[]> => {
    const { rows } = await pool.query<{ message_id: string }>(
      'SELECT message_id FROM service_ops.integration_inbox ORDER BY inbox_id',
    )
    return rows.map(({ message_id: id }) => id)
  }

  const first = await forget()
  assert.deepEqual([first.forgotten, first.isThrough], [2, true])
  const kept = ['finished lately', 'given up', 'discarded', 'open', 'of another', 'newest']
  assert.deepEqual(await left(), kept)

  // The next walk begins at the first that may be forgotten soon, and finds it then.
  await pool.query(
    `UPDATE service_ops.integration_inbox SET processed_at = now() - interval '2h' WHERE message_id = 'finished lately'`,
  )
  const second = await forget(first.walk)
  assert.equal(second.forgotten, 1)
  assert.deepEqual(await left(), kept.slice(1))
})
