import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { checkSource } from '../../src/ingest/sourceCheck.ts'
import { createDatabase } from '../support/database.ts'
import { sourceOf } from './fixture.ts'

const DATABASE_SETS = 'created_at timestamptz NOT NULL DEFAULT now()'
const MILLISECONDS = `INSERT INTO s SELECT i, date_trunc('milliseconds', now()) + i * interval '1 ms' FROM generate_series(1, 9) i`

describe('who sets the time of a row is found out:', () => {
  const cases: readonly [what: string, ddl: string, reason: RegExp | null][] = [
    ['a default of the database', `CREATE TABLE s (id int, ${DATABASE_SETS})`, null],
    ['no default', 'CREATE TABLE s (id int, created_at timestamptz)', /has no default/],
    ['a view', `CREATE TABLE t (id int, ${DATABASE_SETS}); CREATE VIEW s AS SELECT * FROM t`, /is a view’s/],
    ['times of a program', `CREATE TABLE s (id int, ${DATABASE_SETS}); ${MILLISECONDS}`, /the last 9 times/],
    [
      'times of a program before many of the database',
      `CREATE TABLE s (id int, ${DATABASE_SETS});
       INSERT INTO s SELECT i, '2020-01-01'::timestamptz + i * interval '1 s' FROM generate_series(1, 50) i;
       INSERT INTO s SELECT i, '2021-01-01 00:00:00.000001'::timestamptz + i * interval '1 s' FROM generate_series(1, 1000) i`,
      null,
    ],
    [
      'a column that keeps milliseconds alone tells nothing',
      `CREATE TABLE s (id int, created_at timestamptz(3) NOT NULL DEFAULT now()); ${MILLISECONDS}`,
      null,
    ],
    [
      'one time that is whole by chance',
      `CREATE TABLE s (id int, ${DATABASE_SETS}); INSERT INTO s VALUES (1, '2026-01-01Z'), (2, 'infinity'), (3, '-infinity')`,
      null,
    ],
    [
      'a trigger before each insert',
      `CREATE TABLE s (id int, ${DATABASE_SETS}); CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
       CREATE TRIGGER after_it AFTER INSERT ON s FOR EACH ROW EXECUTE FUNCTION f();
       CREATE TRIGGER before_it BEFORE INSERT OR UPDATE ON s FOR EACH ROW EXECUTE FUNCTION f()`,
      /the trigger before_it/,
    ],
    [
      'triggers at other moments',
      `CREATE TABLE s (id int, ${DATABASE_SETS}); CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
       CREATE TRIGGER a AFTER INSERT ON s FOR EACH ROW EXECUTE FUNCTION f();
       CREATE TRIGGER b BEFORE UPDATE ON s FOR EACH ROW EXECUTE FUNCTION f();
       CREATE TRIGGER c BEFORE INSERT ON s FOR EACH STATEMENT EXECUTE FUNCTION f()`,
      null,
    ],
  ]
  for (const [what, ddl, reason] of cases) {
    test(what, async (t) => {
      const pool = (await createDatabase(t)).pool()
      await pool.query(ddl)
      const { latenessMs, clientTimes } = await checkSource(pool, sourceOf('s', { latenessMs: null }))
      if (reason === null) assert.deepEqual([clientTimes, latenessMs], [null, 0])
      else {
        assert.match(clientTimes ?? '', reason)
        assert.equal(latenessMs, 600_000)
      }
      const told = await checkSource(pool, sourceOf('s', { latenessMs: 7 }))
      assert.deepEqual([told.clientTimes, told.latenessMs], [null, 7])
    })
  }

  test('rows without a time are counted, up to a thousand', async (t) => {
    const pool = (await createDatabase(t)).pool()
    await pool.query(
      'CREATE TABLE s (id int, created_at timestamptz DEFAULT now()); INSERT INTO s VALUES (0, now())',
    )
    const undated = async () => (await checkSource(pool, sourceOf('s'))).undated
    assert.equal(await undated(), 0)
    await pool.query('INSERT INTO s SELECT i, NULL FROM generate_series(1, 3) i')
    assert.equal(await undated(), 3)
    await pool.query('INSERT INTO s SELECT i, NULL FROM generate_series(1, 2000) i')
    assert.equal(await undated(), 1001)
  })

  test('rows without an id are counted among the newest', async (t) => {
    const pool = (await createDatabase(t)).pool()
    await pool.query(
      'CREATE TABLE s (id int, created_at timestamptz DEFAULT now()); INSERT INTO s VALUES (1), (NULL), (NULL)',
    )
    assert.equal((await checkSource(pool, sourceOf('s'))).nameless, 2)
  })

  test('rows that a subscription writes, with the times of the publisher', async (t) => {
    const pool = (await createDatabase(t)).pool()
    // A subscription to a server that is not there: made without connecting, it lists no table until it is told to.
    await pool.query(`CREATE TABLE s (id int, ${DATABASE_SETS})`)
    await pool.query(
      `CREATE SUBSCRIPTION nowhere CONNECTION 'host=127.0.0.1 port=1' PUBLICATION p WITH (connect = false, enabled = false, slot_name = NONE)`,
    )
    await pool.query(
      `INSERT INTO pg_subscription_rel SELECT oid, 's'::regclass, 'r' FROM pg_subscription WHERE subname = 'nowhere'`,
    )
    const { clientTimes } = await checkSource(pool, sourceOf('s', { latenessMs: null }))
    await pool.query('DROP SUBSCRIPTION nowhere')
    assert.match(clientTimes ?? '', /a subscription writes s, with the publisher's times/)
  })

  test('a timestamp without zone, even one that is said to be UTC', async (t) => {
    const pool = (await createDatabase(t)).pool()
    await pool.query('CREATE TABLE s (id int, created_at timestamp NOT NULL DEFAULT now())')
    const { clientTimes } = await checkSource(pool, sourceOf('s', { latenessMs: null, timeZone: 'UTC' }))
    assert.match(clientTimes ?? '', /without zone/)
  })
})
