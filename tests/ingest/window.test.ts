import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { resetPoller } from '../../src/ingest/reset.ts'
import type { PreparedSource } from '../../src/ingest/sourceSql.ts'
import type { PassFence } from '../../src/tables/watermark.ts'
import { createIntake, POLLER, sourceOf } from './fixture.ts'
import type { Intake } from './fixture.ts'
import { until } from '../support/until.ts'

/*
 * Whether a row is looked for in the inbox shows when its message was deleted there by hand: then it is taken in again.
 */

const NOTE = `CREATE TABLE note (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, created_at timestamptz DEFAULT now(), body jsonb);
  CREATE INDEX ON note (created_at, id);`
const insert = (rows: number): string =>
  `INSERT INTO note (body) SELECT to_jsonb(n) FROM generate_series(1, ${rows}) n`
const ROWS = 30

interface Seen {
  readonly intake: Intake
  readonly source: PreparedSource
  readonly fence: PassFence
}

/** After a pass that has taken everything in, and every message lost since. Somebody's transaction holds the edge. */
async function seen(t: TestContext, ddl = '', options: Parameters<typeof sourceOf>[1] = {}): Promise<Seen> {
  const intake = await createIntake(t, NOTE + ddl)
  await intake.pool.query(insert(ROWS))
  await alone(intake)
  const old = await intake.pool.connect()
  t.after(() => old.release(true))
  await old.query('BEGIN; SELECT pg_current_xact_id()')
  const source = await intake.prepare(sourceOf('note', { payload: 'body', ...options }))
  const { rowsInserted, fence } = await intake.pass(source, await intake.lead())
  assert.equal(rowsInserted, ROWS)
  await lose(intake)
  return { intake, source, fence }
}

/**
 * Other tests of this server have transactions, too: one older than a row, that ends after the pass which saw the row, makes it
 * look new. `own`: those of the test itself.
 */
const alone = (intake: Intake, own = 0): Promise<unknown> =>
  until('the end of older transactions', async () => {
    const { rows } = await intake.pool.query<{ n: number }>(
      `SELECT count(*)::integer AS n FROM pg_snapshot_xip(pg_current_snapshot()) x
        WHERE x::text::bigint < (SELECT max(note.xmin::text::bigint) FROM note)`,
    )
    return (rows[0]?.n ?? 0) <= own
  })

const lose = (intake: Intake): Promise<unknown> =>
  intake.pool.query('DELETE FROM service_ops.integration_inbox')

/** What the next pass takes in. */
async function taken({ intake, source, fence }: Seen): Promise<number> {
  return (await intake.pass(source, fence)).rowsInserted
}

test('what a completed pass has seen is not looked for again', async (t) => {
  assert.equal(await taken(await seen(t)), 0)
})

test('a row that was written again is looked for', async (t) => {
  const world = await seen(t)
  await world.intake.pool.query('UPDATE note SET body = body WHERE id = 7')
  assert.equal(await taken(world), 1)
})

test('what an unfinished pass has read is looked for', async (t) => {
  const intake = await createIntake(t, NOTE)
  await intake.pool.query(insert(ROWS))
  const source = await intake.prepare(sourceOf('note', { payload: 'body' }))
  const stop = new AbortController()
  const options = { signal: stop.signal, onInserted: () => stop.abort() }
  const { outcome, fence } = await intake.pass(source, await intake.lead(), options)
  assert.equal(outcome, 'interrupted')
  await lose(intake)
  assert.equal(await taken({ intake, source, fence }), ROWS)
})

test('everything is looked for after a restart of the server', async (t) => {
  const world = await seen(t)
  await world.intake.pool.query(
    "UPDATE service_ops.poll_candidate SET cand_boot = cand_boot - interval '1 day'",
  )
  assert.equal(await taken(world), ROWS)
})

test('everything is looked for after a restart, also where an older release has noted a candidate since', async (t) => {
  const world = await seen(t)
  const { rowCount } = await world.intake.pool.query(
    // All that such a release leaves as it was.
    `UPDATE service_ops.integration_poll_watermark SET window_source = replace(window_source,
       ' ' || extract(epoch FROM pg_postmaster_start_time()), ' ' || extract(epoch FROM pg_postmaster_start_time()) - 86400)
      WHERE window_source LIKE '% ' || extract(epoch FROM pg_postmaster_start_time())`,
  )
  assert.equal(rowCount, 1)
  assert.equal(await taken(world), ROWS)
})

test('what a page left out, since the row of its task was missing, is looked for', async (t) => {
  const { intake, source, fence } = await seen(t)
  const { pool } = intake
  // The clock stepped back: the pass begins before the edge, where a page takes nothing in without that row.
  await pool.query("UPDATE service_ops.integration_poll_watermark SET edge = now() + interval '1 hour'")
  await pool.query(
    "UPDATE service_ops.poll_candidate SET scan_from = now() - interval '1 hour', window_known = false",
  )
  const task = (
    await pool.query<{ row: unknown }>(
      'DELETE FROM service_ops.background_task t RETURNING to_jsonb(t) AS row',
    )
  ).rows[0]
  let pages = 0
  const db = {
    query: (async (text: string, values: unknown[]) => {
      if (text.includes('is_last') && (pages += 1) === 3)
        await pool.query(
          'INSERT INTO service_ops.background_task SELECT * FROM jsonb_populate_record(NULL::service_ops.background_task, $1)',
          [task?.row],
        )
      return pool.query(text, values)
    }) as typeof pool.query,
  }
  const first = await intake.pass(source, fence, { db })
  assert.deepEqual([first.outcome, first.rowsInserted], ['completed', 10])
  assert.equal(await taken({ intake, source, fence: first.fence }), 20)
})

test('what a page read of another table, which had the name for a while, is no part of what was seen', async (t) => {
  const { intake, source, fence } = await seen(t, `CREATE TABLE other (LIKE note INCLUDING ALL);`)
  const { pool } = intake
  await pool.query(insert(30))
  await pool.query('UPDATE service_ops.poll_candidate SET window_known = false')
  let pages = 0
  const db = {
    query: (async (text: string, values: unknown[]) => {
      if (text.includes('is_last')) {
        pages += 1
        if (pages === 2)
          await pool.query('ALTER TABLE note RENAME TO former; ALTER TABLE other RENAME TO note')
      }
      return pool.query(text, values)
    }) as typeof pool.query,
  }
  const first = await intake.pass(source, fence, { db })
  assert.equal(first.rowsInserted, 10)
  await pool.query('ALTER TABLE note RENAME TO other; ALTER TABLE former RENAME TO note')
  assert.equal(await taken({ intake, source, fence: first.fence }), 50)
})

for (const [name, after] of [
  ['', ''],
  // As a release does that knows of no window: its row has what it wrote, and what the reset dropped is not back.
  [
    ', also where an older release has begun a pass since',
    `INSERT INTO service_ops.poll_candidate (poller, cand_ts, cand_boot) VALUES ('${POLLER}', '-infinity', pg_postmaster_start_time())`,
  ],
] as const) {
  test(`everything from its start on is looked for after a reset${name}`, async (t) => {
    const { intake, source } = await seen(t)
    const client = await intake.pool.connect()
    await client.query('BEGIN')
    await resetPoller(client, POLLER, source, '-infinity')
    await client.query('COMMIT')
    client.release()
    if (after !== '') await intake.pool.query(after)
    assert.equal(await taken({ intake, source, fence: await intake.lead() }), ROWS)
  })
}

test('everything is looked for by a watermark that was made again', async (t) => {
  const world = await seen(t)
  await world.intake.pool.query('DELETE FROM service_ops.integration_poll_watermark')
  assert.equal(await taken({ ...world, fence: await world.intake.lead() }), ROWS)
})

test('rows from before the start of the pass that was completed are looked for', async (t) => {
  const world = await seen(t)
  const { pool } = world.intake
  await pool.query('UPDATE service_ops.integration_poll_watermark SET window_from = now()')
  assert.equal(await taken(world), ROWS)
})

test('rows of another table under the same name are looked for', async (t) => {
  const world = await seen(
    t,
    `CREATE TABLE other (LIKE note INCLUDING ALL); INSERT INTO other (body) VALUES ('1'), ('2');`,
  )
  await world.intake.pool.query('ALTER TABLE note RENAME TO former; ALTER TABLE other RENAME TO note')
  assert.equal(await taken(world), 2)
})

for (const where of ['id % 2 = 0', `id <= ${ROWS / 2}`]) {
  test(`with another condition (${where}), and after one, everything is looked for`, async (t) => {
    const world = await seen(t)
    const chosen = await world.intake.prepare(sourceOf('note', { payload: 'body', where }))
    const { rowsInserted, fence } = await world.intake.pass(chosen, world.fence)
    assert.equal(rowsInserted, ROWS / 2)
    assert.equal(await taken({ ...world, fence }), ROWS / 2)
  })
}

test('with a condition, which may become true without a write to the row, everything is looked for', async (t) => {
  assert.equal(await taken(await seen(t, '', { where: 'now() IS NOT NULL' })), ROWS)
})

test('a condition that compares columns with constants is told from the row alone; any other is not', async (t) => {
  const intake = await createIntake(
    t,
    NOTE.replace('body jsonb', 'kind text, n int, "Two Words" bool, at timestamptz, body jsonb'),
  )
  const isTold = async (where: string): Promise<boolean> =>
    (await intake.prepare(sourceOf('note', { payload: 'body', where }))).window !== null
  for (const where of [
    "kind = 'a'",
    "KIND IN ('a', 'it''s') AND NOT (n <= 3 OR n IS NULL)",
    '"Two Words"',
    '"Two Words" IS NOT TRUE OR n <> 7',
  ])
    assert.ok(await isTold(where), where)
  for (const where of [
    "at < 'now'",
    'n > random()',
    "kind ('a') = 'b'",
    "kind 'now' IS NOT NULL",
    'n = (SELECT 1)',
    'EXISTS (SELECT FROM note)',
    "body ->> 'a' = 'b'",
    'n::text = kind',
    "kind = E'\\101'",
    'current_user = kind',
    "kind = 'a' -- really",
    'n = 1 AND missing',
  ])
    assert.ok(!(await isTold(where)), where)
})

test('rows of a view and of a partitioned table have no age of their own', async (t) => {
  const intake = await createIntake(
    t,
    `${NOTE} CREATE VIEW seen_note AS SELECT * FROM note;
     CREATE TABLE parted (LIKE note) PARTITION BY RANGE (created_at); CREATE TABLE part PARTITION OF parted DEFAULT;`,
  )
  for (const table of ['seen_note', 'parted'])
    assert.equal((await intake.prepare(sourceOf(table, { payload: 'body' }))).window, null)
})

test('a partition or a child that comes later brings rows in that are looked for', async (t) => {
  const world = await seen(
    t,
    `CREATE TABLE child (LIKE note INCLUDING ALL); INSERT INTO child (id, body) OVERRIDING SYSTEM VALUE VALUES (1000, '1');`,
  )
  await world.intake.pool.query('ALTER TABLE child INHERIT note')
  assert.equal(await taken(world), 1)
})

test('a long window is skimmed, and rows that were committed late in its middle are taken in', async (t) => {
  const intake = await createIntake(t, NOTE)
  const source = await intake.prepare(sourceOf('note', { payload: 'body' }))
  const late = await intake.pool.connect()
  const old = await intake.pool.connect()
  try {
    // One that writes nothing more, and holds the edge to the end.
    await old.query('BEGIN; SELECT pg_current_xact_id()')
    await intake.pool.query(insert(300))
    await late.query(`BEGIN; SAVEPOINT s; ${insert(2)}; RELEASE s; ${insert(25)}`)
    await intake.pool.query(insert(300))
    await alone(intake, 2)
    const first = await intake.pass(source, await intake.lead())
    assert.equal(first.rowsInserted, 600)
    await late.query('COMMIT')
    let statements = 0
    const counted = {
      query: ((text: string, values: unknown[]) => {
        statements += 1
        return intake.pool.query(text, values)
      }) as typeof intake.pool.query,
    }
    const second = await intake.pass(source, first.fence, { db: counted })
    assert.deepEqual([second.outcome, second.rowsInserted, second.lateRows], ['completed', 27, 27])
    // A page of ten at a time would take 64.
    assert.ok(statements < 45, `${statements} statements`)
    const rows = await intake.inbox()
    assert.equal(new Set(rows.map((row) => row.trace_id)).size, 627)
  } finally {
    late.release(true)
    old.release(true)
  }
})

test('a row that cannot be read is found in the middle of what was seen', async (t) => {
  const intake = await createIntake(t, NOTE.replace('body jsonb', 'body text'))
  const source = await intake.prepare(sourceOf('note', { payload: 'body' }))
  const old = await intake.pool.connect()
  try {
    await old.query("BEGIN; INSERT INTO note (body) VALUES ('no json {'), ('1')")
    await intake.pool.query(insert(200).replace('to_jsonb(n)', 'n::text'))
    const first = await intake.pass(source, await intake.lead())
    assert.equal(first.rowsInserted, 200)
    await old.query('COMMIT')
    const second = await intake.pass(source, first.fence)
    assert.deepEqual([second.outcome, second.rowsInserted, intake.refused.length], ['completed', 2, 1])
  } finally {
    old.release(true)
  }
})
