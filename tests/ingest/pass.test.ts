import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { QueryResultRow } from 'pg'
import type { Queryable } from '../../src/db/pool.ts'
import { createIntake, POLLER, sourceOf } from './fixture.ts'

const NOTES = `CREATE TABLE note (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  created_at timestamptz DEFAULT now(), body text)`
const ids = (rows: readonly { message_id: string }[]): number[] => rows.map((row) => Number(row.message_id))
const oneTo = (n: number): number[] => Array.from({ length: n }, (_, i) => i + 1)

describe('a row that cannot be read', () => {
  test('is taken in alone as DEAD, without payload and with the reason; its neighbours as ever', async (t) => {
    const intake = await createIntake(t, NOTES)
    await intake.pool.query(
      `INSERT INTO note (body) SELECT CASE WHEN n IN (17, 18) THEN 'no json {' ELSE to_json(n)::text END FROM generate_series(1, 40) n`,
    )
    const source = await intake.prepare(sourceOf('note', { payload: 'body' }))
    const result = await intake.pass(source, await intake.lead())

    assert.equal(result.outcome, 'completed')
    assert.equal(result.rowsInserted, 40)
    const inbox = await intake.inbox()
    assert.deepEqual(ids(inbox), oneTo(40))
    for (const row of inbox) {
      const id = Number(row.message_id)
      if (id === 17 || id === 18) {
        assert.equal(row.status, 'DEAD')
        assert.equal(row.payload, null)
        assert.match(row.last_error ?? '', /22P02.*json/)
        assert.match(row.trace_id, /^[0-9a-f]{32}$/)
      } else {
        assert.deepEqual([row.status, row.payload, row.last_error], ['NEW', id, null])
      }
    }
    assert.equal(intake.refused.length, 2)
  })

  test('because of \\u0000 in a json column is DEAD too, and is not looked at again', async (t) => {
    const intake = await createIntake(
      t,
      `CREATE TABLE note (id bigint PRIMARY KEY, created_at timestamptz DEFAULT now(), body json);
       INSERT INTO note VALUES (1, now(), '{"a": 1}'), (2, now(), '{"a": "\\u0000"}'), (3, now(), '{"a": 3}')`,
    )
    const source = await intake.prepare(sourceOf('note', { payload: 'body' }))
    const first = await intake.pass(source, await intake.lead())
    const second = await intake.pass(source, first.fence)

    assert.deepEqual(
      (await intake.inbox()).map((row) => row.status),
      ['NEW', 'DEAD', 'NEW'],
    )
    assert.deepEqual([second.rowsRead, second.rowsInserted], [3, 0])
    assert.equal(intake.refused.length, 1)
  })

  test('because its id is too long for the inbox is DEAD under a stand-in, once; longest ids are processed', async (t) => {
    const intake = await createIntake(
      t,
      `CREATE TABLE note (id text PRIMARY KEY, created_at timestamptz DEFAULT now(), body int);
       ALTER TABLE note DROP CONSTRAINT note_pkey; CREATE INDEX ON note (created_at);
       INSERT INTO note SELECT (SELECT string_agg(md5(n || ' ' || g), '') FROM generate_series(1, 100) g), now(), n FROM generate_series(1, 2) n;
       INSERT INTO note SELECT left((SELECT string_agg(md5('x' || g), '') FROM generate_series(1, 100) g), 2600), now(), 3;
       INSERT INTO note VALUES ('short', now(), 4), (repeat('x', 2601), now(), 5)`,
    )
    const source = await intake.prepare(sourceOf('note', { payload: 'body' }))
    const first = await intake.pass(source, await intake.lead())
    const second = await intake.pass(source, first.fence)

    assert.equal(first.outcome, 'completed')
    const inbox = await intake.inbox()
    assert.deepEqual(
      inbox.map(({ message_id: id, status, payload }) => [Buffer.byteLength(id), status, payload]).sort(),
      [
        [2600, 'NEW', 3],
        [5, 'NEW', 4],
        [99, 'DEAD', null],
        [99, 'DEAD', null],
        [99, 'DEAD', null],
      ],
    )
    for (const { status, message_id: id, last_error: error } of inbox)
      if (status === 'DEAD') {
        assert.match(id, /^\w{64}…[0-9a-f]{32}$/)
        assert.match(error ?? '', /^its id has (3200|2601) bytes, and 2600 are the most/)
      }
    assert.deepEqual([second.outcome, second.rowsRead, second.rowsInserted], ['completed', 5, 0])
    assert.equal(intake.refused.length, 3)
    await intake.pool.query('UPDATE service_ops.background_task SET source_table = $1, source_columns = $2', [
      source.table,
      JSON.stringify(source.columns),
    ])
    const { rows } = await intake.pool.query(
      `SELECT ok, (SELECT edge > now() - interval '1 min' FROM service_ops.integration_poll_watermark) AS proven
         FROM service_ops.verify() WHERE name LIKE 'nothing_below_the_edge_is_missing%'`,
    )
    assert.deepEqual(rows, [{ ok: true, proven: true }])
  })

  test('does not drag down a good row that commits before it between the failure and the refusal', async (t) => {
    const intake = await createIntake(t, `${NOTES}; INSERT INTO note (body) VALUES ('no json {')`)
    const source = await intake.prepare(sourceOf('note', { payload: 'body' }))
    let failures = 0
    const db: Queryable = {
      async query<R extends QueryResultRow>(text: string, values: readonly unknown[] = []) {
        try {
          return await intake.pool.query<R>(text, [...values])
        } catch (error) {
          failures += 1
          if (failures === 1) {
            await intake.pool.query(
              `INSERT INTO note (created_at, body) VALUES (now() - interval '1 s', '"good"')`,
            )
          }
          throw error
        }
      },
    }
    const first = await intake.pass(source, await intake.lead(), { db, pageSize: 1 })
    await intake.pass(source, first.fence)

    const inbox = await intake.inbox()
    assert.deepEqual(inbox.map(({ message_id: id, status }) => [id, status]).sort(), [
      ['1', 'DEAD'],
      ['2', 'NEW'],
    ])
    assert.equal(inbox.find((row) => row.message_id === '2')?.payload, 'good')
  })

  test('without an id is left alone, and holds up nobody', async (t) => {
    const intake = await createIntake(
      t,
      `CREATE TABLE note (id bigint UNIQUE, created_at timestamptz DEFAULT now());
       INSERT INTO note (id) VALUES (1), (NULL), (2)`,
    )
    const source = await intake.prepare(sourceOf('note'))
    assert.equal((await intake.pass(source, await intake.lead())).outcome, 'completed')
    assert.deepEqual(ids(await intake.inbox()), [1, 2])
  })

  test('and whose refusal fails as well ends the pass with the error', async (t) => {
    const intake = await createIntake(t, `${NOTES}; INSERT INTO note (body) VALUES ('1')`)
    const source = await intake.prepare(sourceOf('note', { where: 'body::int / 0 = 1' }))
    await assert.rejects(intake.pass(source, await intake.lead()), /division by zero/)
    assert.deepEqual(await intake.inbox(), [])
  })
})

describe('a pass', () => {
  test('reads thousands of equal timestamps across its pages, each row once', async (t) => {
    const intake = await createIntake(t, NOTES)
    await intake.pool.query('INSERT INTO note (body) SELECT n FROM generate_series(1, 3000) n')
    const source = await intake.prepare(sourceOf('note'))
    const result = await intake.pass(source, await intake.lead(), { pageSize: 70 })

    assert.deepEqual([result.rowsRead, result.rowsInserted], [3000, 3000])
    assert.deepEqual(ids(await intake.inbox()), oneTo(3000))
  })

  test('keeps microseconds, and tells rows apart that differ by one', async (t) => {
    const intake = await createIntake(t, NOTES)
    await intake.pool.query(
      `INSERT INTO note (created_at) SELECT timestamptz '2026-01-02 03:04:05.123456Z' + n * interval '1 microsecond' FROM generate_series(0, 29) n`,
    )
    const source = await intake.prepare(sourceOf('note'))
    const { fence } = await intake.pass(source, await intake.lead(), { pageSize: 4 })

    const inbox = await intake.inbox()
    assert.deepEqual(ids(inbox), oneTo(30))
    assert.equal(inbox[0]?.source_created_at, '2026-01-02 03:04:05.123456')
    assert.equal(inbox[29]?.source_created_at, '2026-01-02 03:04:05.123485')

    // Only what lies at or above the edge is read again.
    const second = await intake.pass(source, fence)
    assert.equal((await intake.pass(source, second.fence)).rowsRead, 0)
  })

  test('takes in no row without a time, and every other; the sweep is for those', async (t) => {
    const intake = await createIntake(
      t,
      `${NOTES}; INSERT INTO note (created_at) VALUES (now()), (NULL), (now()), (NULL)`,
    )
    const source = await intake.prepare(sourceOf('note'))
    let { fence } = await intake.pass(source, await intake.lead(), { pageSize: 1 })
    ;({ fence } = await intake.pass(source, fence))
    assert.deepEqual(ids(await intake.inbox()), [1, 3])

    await intake.pool.query('INSERT INTO note DEFAULT VALUES')
    await intake.pass(source, fence)
    assert.deepEqual(ids(await intake.inbox()), [1, 3, 5])
  })

  test('counts a row behind the greatest cursor as late', async (t) => {
    const intake = await createIntake(t, `${NOTES}; INSERT INTO note (created_at) VALUES ('2026-01-02')`)
    const source = await intake.prepare(sourceOf('note'))
    const first = await intake.pass(source, await intake.lead())
    await intake.pool.query("INSERT INTO note (created_at) VALUES ('2026-01-01'), ('2026-01-03')")
    const second = await intake.pass(source, first.fence)
    assert.deepEqual([first.lateRows, second.lateRows], [0, 1])
  })

  for (const [type, values] of [
    ['bigint', ['-9223372036854775807', '-5', '0', '7', '9223372036854775807']],
    ['uuid', ['00000000-0000-0000-0000-000000000001', 'ffffffff-ffff-ffff-ffff-ffffffffffff']],
    ['text', [' ', 'A', 'a', "o'clock", 'Ü', '😀', '\\']],
  ] as const) {
    test(`takes in ids of type ${type}, each once, over pages of one`, async (t) => {
      const intake = await createIntake(
        t,
        `CREATE TABLE note (id ${type} PRIMARY KEY, created_at timestamptz DEFAULT now())`,
      )
      await intake.pool.query(`INSERT INTO note (id) SELECT * FROM unnest($1::${type}[])`, [values])
      const source = await intake.prepare(sourceOf('note'))
      const result = await intake.pass(source, await intake.lead(), { pageSize: 1 })
      assert.equal(result.rowsRead, values.length)
      assert.deepEqual((await intake.inbox()).map((row) => row.message_id).sort(), [...values].sort())
    })
  }

  test('that is told to stop finishes its page and leaves the rest to the next', async (t) => {
    const intake = await createIntake(
      t,
      `${NOTES}; INSERT INTO note (body) SELECT n FROM generate_series(1, 25) n`,
    )
    const source = await intake.prepare(sourceOf('note'))
    const stop = new AbortController()
    const first = await intake.pass(source, await intake.lead(), {
      signal: stop.signal,
      onInserted: () => stop.abort(),
    })
    assert.deepEqual([first.outcome, first.rowsInserted], ['interrupted', 10])
    const second = await intake.pass(source, first.fence)
    assert.deepEqual([second.outcome, second.rowsInserted], ['completed', 15])
  })
})

describe('the fence', () => {
  test('refuses a pass once another leads, before its first page and between its pages', async (t) => {
    const intake = await createIntake(
      t,
      `${NOTES}; INSERT INTO note (body) SELECT n FROM generate_series(1, 25) n`,
    )
    const source = await intake.prepare(sourceOf('note'))
    const old = await intake.lead()
    let ousted: Promise<unknown> | undefined
    const middle = await intake.pass(source, old, {
      // The takeover begins when the first page is in, and is over before the second is sent.
      onInserted: () => {
        ousted = intake.lead()
      },
      db: {
        async query(text, values = []) {
          await ousted
          return intake.pool.query(text, [...values])
        },
      },
    })
    assert.deepEqual([middle.outcome, middle.rowsInserted], ['fenced', 10])
    assert.equal((await intake.pass(source, middle.fence)).outcome, 'fenced')
    assert.equal((await intake.inbox()).length, 10)
  })

  test('is not mistaken for a missing row, which is made again from the last edge in the ledger', async (t) => {
    const intake = await createIntake(
      t,
      `${NOTES}; INSERT INTO note (created_at) SELECT '2026-01-01'::timestamptz + n * interval '1 day' FROM generate_series(1, 5) n`,
    )
    const source = await intake.prepare(sourceOf('note'))
    const fence = await intake.lead()
    await intake.pool.query(
      `INSERT INTO service_ops.poll_run (poller, due_at, started_at, outcome, edge, term, instance_id)
       VALUES ($1, now(), now(), 'ran', '2026-01-04Z', 1, 'test')`,
      [POLLER],
    )
    await intake.pool.query('DELETE FROM service_ops.integration_poll_watermark')
    const result = await intake.pass(source, fence)

    assert.equal(result.outcome, 'completed')
    assert.equal(intake.remade.length, 1)
    assert.match(intake.remade[0] ?? '', /^2026-01-04/)
    // Below the edge everything is proven to be in the inbox: what lies there is not read again.
    assert.deepEqual(ids(await intake.inbox()), [3, 4, 5])
    assert.equal((await intake.pass(source, result.fence)).outcome, 'completed')
  })

  test('keeps an ousted leader from making a missing row again', async (t) => {
    const intake = await createIntake(t, NOTES)
    const source = await intake.prepare(sourceOf('note'))
    const old = await intake.lead()
    await intake.lead()
    await intake.pool.query('DELETE FROM service_ops.integration_poll_watermark')
    assert.equal((await intake.pass(source, old)).outcome, 'fenced')
    assert.deepEqual(intake.remade, [])
  })
})

test('rows written since the last pass are taken in although the clock stepped back behind the edge', async (t) => {
  const intake = await createIntake(t, NOTES)
  const source = await intake.prepare(sourceOf('note', { payload: 'body' }))
  const first = await intake.pass(source, await intake.lead())
  // What a step back by an hour leaves: an edge and a candidate in the future.
  await intake.pool.query(
    `UPDATE service_ops.integration_poll_watermark SET edge = now() + interval '1 hour'`,
  )
  await intake.pool.query(`UPDATE service_ops.poll_candidate SET cand_ts = now() + interval '1 hour'`)
  await intake.pool.query(`INSERT INTO note (created_at, body) VALUES (now() - interval '20 s', '1')`)
  const steps: number[] = []
  const onClockStepped = (behindMs: number): void => void steps.push(behindMs)
  await intake.pass(source, first.fence, { sinceMs: 30_000, onClockStepped })

  assert.deepEqual(ids(await intake.inbox()), [1])
  assert.equal(steps.length, 1)
  assert.ok((steps[0] ?? 0) > 3_500_000, 'an hour, less what the test took')
})

test('a step of the clock is said once, however long a transaction from before it is open', async (t) => {
  const intake = await createIntake(t, NOTES)
  const source = await intake.prepare(sourceOf('note', { payload: 'body' }))
  const writer = await intake.pool.connect()
  await writer.query('BEGIN')
  await writer.query(`INSERT INTO note (body) VALUES ('1')`)
  let { fence } = await intake.pass(source, await intake.lead())
  const ahead = async (): Promise<unknown> =>
    intake.pool.query(`UPDATE service_ops.poll_candidate SET cand_ts = now() + interval '1 hour'`)
  const steps: number[] = []
  const pass = async (): Promise<string | null> => {
    const result = await intake.pass(source, fence, { onClockStepped: (behindMs) => steps.push(behindMs) })
    fence = result.fence
    return result.edge
  }
  await ahead()
  for (let i = 0; i < 3; i += 1) await pass()
  assert.equal(steps.length, 1)
  await ahead()
  await pass()
  assert.equal(steps.length, 2)
  const open = await pass()
  await writer.query('COMMIT')
  writer.release()
  assert.notEqual(await pass(), open, 'its end lets the edge go on')
  assert.deepEqual([ids(await intake.inbox()), steps.length], [[1], 2])
})
