import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { SourceInvalid } from '../../src/errors.ts'
import type { ResolvedSource } from '../../src/config/resolved.ts'
import { prepareSource } from '../../src/ingest/sourceSql.ts'
import { describeSource } from '../../src/tables/source.ts'
import { createIntake, sourceOf } from './fixture.ts'
import type { InboxRow } from './fixture.ts'
import type { Scope } from '../support/scope.ts'

/** Takes in everything that the source has. */
async function takenIn(t: Scope, ddl: string, source: ResolvedSource): Promise<InboxRow[]> {
  const intake = await createIntake(t, ddl)
  await intake.pass(await intake.prepare(source), await intake.lead())
  return intake.inbox()
}

describe('a source that cannot be polled is refused, with the thing and the remedy:', () => {
  const refusals: readonly [string, string, ResolvedSource, RegExp, RegExp][] = [
    ['a table that is not there', '', sourceOf('nowhere'), /nowhere.*no such table/, /schema\.table/],
    [
      'a sequence',
      'CREATE SEQUENCE s',
      sourceOf('s'),
      /is a sequence/,
      /point the poller at a table or view/,
    ],
    [
      'a foreign table',
      `CREATE FOREIGN DATA WRAPPER w; CREATE SERVER far FOREIGN DATA WRAPPER w;
       CREATE FOREIGN TABLE s (id int, created_at timestamptz) SERVER far`,
      sourceOf('s'),
      /: it is a foreign table/,
      /point the poller at a table or view/,
    ],
    [
      'a column that is not there',
      'CREATE TABLE s (id int, created_at timestamptz)',
      sourceOf('s', { groupKey: 'tenant' }),
      /no column tenant.*`groupKey`/,
      /its columns are id, created_at/,
    ],
    [
      'an id of a type without a lowest value',
      'CREATE TABLE s (id numeric, created_at timestamptz)',
      sourceOf('s'),
      /id column id is numeric/,
      /view that casts it: id::text/,
    ],
    [
      'an id whose collation takes different ids for equal',
      `CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
       CREATE TABLE s (id text COLLATE loose, created_at timestamptz)`,
      sourceOf('s'),
      /nondeterministic collation/,
      /COLLATE "C"/,
    ],
    [
      'a date',
      'CREATE TABLE s (id int, created_at date)',
      sourceOf('s'),
      /time column created_at is date/,
      /must be a timestamptz/,
    ],
    [
      'a timestamp whose zone nobody told',
      'CREATE TABLE s (id int, created_at timestamp)',
      sourceOf('s'),
      /timestamp without zone/,
      /timeZone: 'UTC'/,
    ],
    [
      'a zone for a time that has one',
      'CREATE TABLE s (id int, created_at timestamptz)',
      sourceOf('s', { timeZone: 'UTC' }),
      /has a time zone of its own/,
      /leave `timeZone` out/,
    ],
    [
      'a default that gives every row the same time',
      "CREATE TABLE s (id int, created_at timestamptz DEFAULT '2026-01-01Z')",
      sourceOf('s'),
      /every row would have the same time/,
      /SET DEFAULT now\(\)/,
    ],
  ]
  for (const [name, ddl, source, problem, remedy] of refusals) {
    test(name, async (t) => {
      const intake = await createIntake(t, ddl)
      await assert.rejects(intake.prepare(source), (error: unknown) => {
        assert.ok(error instanceof SourceInvalid)
        assert.match(error.message, problem)
        assert.match(error.remedy, remedy)
        return true
      })
    })
  }

  test('row-level security that hides rows from the role that asks', async (t) => {
    const intake = await createIntake(
      t,
      `CREATE TABLE s (id int, created_at timestamptz); ALTER TABLE s ENABLE ROW LEVEL SECURITY;
       GRANT SELECT ON s TO pg_read_all_stats`,
    )
    // By the test's own hands: the session becomes another role's, and the program's may be a pooler's or that role's.
    const source = sourceOf('s')
    const prepare = async () => prepareSource(source, await describeSource(intake.pool, source.table))
    await prepare()
    const client = await intake.pool.connect()
    await client.query('SET SESSION AUTHORIZATION pg_read_all_stats')
    client.release()
    await assert.rejects(prepare(), /row-level security.*BYPASSRLS/)
  })
})

describe('the statements', () => {
  for (const [schema, table, id, time] of [
    ['odd', 'Capitals And Spaces', 'The Id', 'Created At'],
    ['odd', 'say "hi"', 'the "id"', "when's that"],
    ['ödd 🌊', 'tide 🌊', 'ID🌊', 'zeit'],
    ['odd', 'select', 'order', 'from'],
    ['odd', 'dots.and $1 ::', 'a.b', ':"id"'],
  ] as const) {
    test(`read ${schema} . ${table} by ${id} and ${time}`, async (t) => {
      const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`
      const full = `${quoted(schema)}.${quoted(table)}`
      const rows = await takenIn(
        t,
        `CREATE SCHEMA ${quoted(schema)};
         CREATE TABLE ${full} (${quoted(id)} int PRIMARY KEY, ${quoted(time)} timestamptz DEFAULT now(), "it's 100%" text);
         INSERT INTO ${full} VALUES (1, now(), 'x'), (2, now(), 'y')`,
        sourceOf(full, { id, createdAt: time, payload: [id, "it's 100%"], groupKey: "it's 100%" }),
      )
      assert.deepEqual(
        rows.map((row) => [row.message_id, row.payload, row.group_key]),
        [
          ['1', { [id]: 1, "it's 100%": 'x' }, 'x'],
          ['2', { [id]: 2, "it's 100%": 'y' }, 'y'],
        ],
      )
    })
  }

  test('read only rows of the condition, even one that ends in a comment', async (t) => {
    const rows = await takenIn(
      t,
      'CREATE TABLE s (id int, created_at timestamptz DEFAULT now()); INSERT INTO s (id) SELECT generate_series(1, 6)',
      sourceOf('s', { where: 'id % 3 = 0 OR id = 1 -- the rest is not ours' }),
    )
    assert.deepEqual(
      rows.map((row) => row.message_id),
      ['1', '3', '6'],
    )
  })

  test('take a timestamp in UTC for what it is, to the microsecond', async (t) => {
    const intake = await createIntake(
      t,
      `CREATE TABLE s (id int, created_at timestamp); INSERT INTO s VALUES (1, '2026-03-29 01:30:00.000001')`,
    )
    const source = await intake.prepare(sourceOf('s', { timeZone: 'UTC' }))
    await intake.pool.query("SET TIME ZONE 'Europe/Berlin'")
    const { fence } = await intake.pass(source, await intake.lead())
    assert.equal((await intake.inbox())[0]?.source_created_at, '2026-03-29 01:30:00.000001')
    await intake.pass(source, fence)
    assert.equal((await intake.inbox()).length, 1)
  })
})

describe('the payload is', () => {
  const DDL = `CREATE TABLE s (id int, created_at timestamptz DEFAULT now(), b jsonb, j json, t text, n int);
    INSERT INTO s (id, b, j, t, n) VALUES (1, '{"x": [1]}', '{"y":2}', '[3]', 4)`
  const forms: readonly [string, ResolvedSource['payload'], unknown][] = [
    ['the value of a jsonb column', 'b', { x: [1] }],
    ['the value of a json column', 'j', { y: 2 }],
    ['the JSON in a text column', 't', [3]],
    ['the value of any other column, as JSON', 'n', 4],
    ['an object of the columns in a list', ['n', 'b'], { n: 4, b: { x: [1] } }],
  ]
  for (const [name, payload, expected] of forms) {
    test(name, async (t) => {
      const [row] = await takenIn(t, DDL, sourceOf('s', { payload }))
      assert.deepEqual(row?.payload, expected)
    })
  }

  test('the whole row, when nothing is said', async (t) => {
    const [row] = await takenIn(t, DDL, sourceOf('s'))
    const { created_at: createdAt, ...rest } = row?.payload as Record<string, unknown>
    assert.deepEqual(rest, { id: 1, b: { x: [1] }, j: { y: 2 }, t: '[3]', n: 4 })
    assert.equal(typeof createdAt, 'string')
  })
})

describe('the trace id is', () => {
  const FRESH = /^[0-9a-f]{32}$/
  const DDL = `CREATE TABLE s (id int, created_at timestamptz DEFAULT now(), tr text, trace_id text, p jsonb);
    INSERT INTO s (id, tr, trace_id, p) VALUES (1, 'from-column:1', 'from-row', '{"trace_id": "from.payload"}'),
      (2, 'not one, it has spaces', '', '{"trace_id": "no good!"}'), (3, NULL, NULL, '{"trace_id": 12}')`
  const traces = async (t: Scope, options: Partial<ResolvedSource>): Promise<string[]> =>
    (await takenIn(t, DDL, sourceOf('s', options))).map((row) => row.trace_id)
  const assertFresh = (ids: readonly string[]): void => {
    for (const id of ids) assert.match(id, FRESH)
    assert.equal(new Set(ids).size, ids.length)
  }

  test('that of the column, and a fresh one where the column has none that may be used', async (t) => {
    const [first, ...others] = await traces(t, { traceId: 'tr', payload: 'p' })
    assert.equal(first, 'from-column:1')
    assertFresh(others)
  })

  test('that of the payload, when no column is named', async (t) => {
    const [first, ...others] = await traces(t, { payload: 'p' })
    assert.equal(first, 'from.payload')
    assertFresh(others)
  })

  test('that of a whole traceparent in the column, which is kept; what only looks like one is text', async (t) => {
    const [trace, span] = ['4bf92f3577b34da6a3ce929d0e0e4736', '00f067aa0ba902b7']
    const whole = `00-${trace}-${span}-01`
    const others = [
      `00-${'0'.repeat(32)}-${span}-01`,
      `00-${trace}-${'0'.repeat(16)}-01`,
      `ff-${trace}-${span}-01`,
    ]
    const rows = [whole, ...others].map((text, i) => `(${i}, '${text}', '{}')`)
    const ddl = `CREATE TABLE s (id int, created_at timestamptz DEFAULT clock_timestamp(), tr text, p jsonb);
      INSERT INTO s (id, tr, p) VALUES ${rows.join()}`
    const taken = await takenIn(t, ddl, sourceOf('s', { traceId: 'tr', payload: 'p' }))
    assert.deepEqual(
      taken.map(({ trace_id: id, traceparent }) => [id, traceparent]),
      [[trace, whole], ...others.map((text) => [text, null])],
    )
  })

  test('that of the row, when the whole row is the payload', async (t) => {
    const [first, ...others] = await traces(t, {})
    assert.equal(first, 'from-row')
    assertFresh(others)
  })
})
