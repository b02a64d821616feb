import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { tidemark } from '../cli/tidemark.ts'
import { createDatabase } from '../support/database.ts'
import { startInstance } from '../support/instance.ts'
import { grants, plainRole } from '../support/plainRole.ts'
import { until } from '../support/until.ts'

test('each source that cannot be read is named with its remedy; its neighbours run', async (t) => {
  const database = await createDatabase(t)
  const pool = database.pool()
  await tidemark(['migrate'], { env: { DATABASE_URL: database.url } })
  const { role, url } = await plainRole(t, database)
  await pool.query(`
    ${grants(role, 'service_ops', 'pgboss')}
    CREATE SCHEMA closed; CREATE SCHEMA shop; GRANT USAGE ON SCHEMA shop TO ${role};
    CREATE TABLE closed.t (id int PRIMARY KEY, at timestamptz NOT NULL DEFAULT now());
    CREATE TABLE shop.secret (id int PRIMARY KEY, at timestamptz NOT NULL DEFAULT now());
    CREATE TABLE shop.good (id int PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp(), note text);
    CREATE TABLE shop.zoneless (id int PRIMARY KEY, at timestamp NOT NULL DEFAULT now());
    CREATE VIEW shop.narrow AS SELECT id FROM shop.good;
    CREATE VIEW shop.below AS SELECT id, at FROM shop.secret; ALTER VIEW shop.below OWNER TO ${role};
    CREATE TABLE shop.later (id int PRIMARY KEY, at timestamptz);
    CREATE TABLE shop.sent (id int PRIMARY KEY, at timestamptz NOT NULL DEFAULT now());
    CREATE TABLE shop.touched (id int PRIMARY KEY, at timestamptz NOT NULL DEFAULT now());
    CREATE FUNCTION shop.touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
    CREATE TRIGGER touch BEFORE INSERT ON shop.touched FOR EACH ROW EXECUTE FUNCTION shop.touch();
    INSERT INTO shop.good VALUES (1, DEFAULT, 'a'), (2, DEFAULT, 'b');
    INSERT INTO shop.later VALUES (1, now()), (2, NULL), (3, 'infinity'), (4, '-infinity');
    INSERT INTO shop.sent SELECT i, date_trunc('milliseconds', now()) + i * interval '1 ms' FROM generate_series(1, 50) i;
    INSERT INTO shop.touched VALUES (1, DEFAULT);
    GRANT SELECT ON shop.good, shop.zoneless, shop.narrow, shop.below, shop.later, shop.sent, shop.touched TO ${role};
    REVOKE ALL ON shop.secret FROM ${role}`)
  const instance = await startInstance(t, {
    databaseUrl: url,
    env: { RUN_MIGRATIONS: '0' },
    config: `
      const of = (table, more = {}) => ({ source: { table, id: 'id', createdAt: 'at', ...more }, every: '1s' })
      export default {
        pollers: {
          nowhere: of('shop.nowhere'), column: of('shop.good', { groupKey: 'tenant' }), closed: of('closed.t'), secret: of('shop.secret'),
          narrow: of('shop.narrow'), below: of('shop.below'), zoneless: of('shop.zoneless'),
          condition: of('shop.good', { where: 'note = = 1' }), unknown_in_condition: of('shop.good', { where: "state = 'x'" }),
          good: of('shop.good'), later: { ...of('shop.later'), startFrom: 'beginning' }, sent: of('shop.sent'), touched: of('shop.touched'),
          told: of('shop.sent', { lateness: '1m' }),
        },
        processors: { all: { from: ['good', 'later', 'sent', 'touched'], contract: 'external', concurrency: 4, handle() {} } },
      }`,
  })
  await instance.said('ready')
  const reason = (task: string): string =>
    String(instance.of('task_failed_to_start', { task })[0]?.['reason'])
  assert.match(reason('nowhere'), /shop\.nowhere: there is no such table.*Remedy/)
  assert.match(reason('column'), /no column tenant.*its columns are id, at, note/)
  assert.match(
    reason('closed'),
    new RegExp(`role ${role} .*schema closed.*GRANT USAGE ON SCHEMA closed TO ${role}`),
  )
  assert.match(
    reason('secret'),
    new RegExp(`role ${role} .*table shop\\.secret.*GRANT SELECT ON shop\\.secret TO ${role}`),
  )
  assert.match(reason('narrow'), /no column at, named by `createdAt`.*its columns are id/)
  assert.match(reason('below'), /what shop\.below reads.*permission denied for table secret/)
  assert.match(reason('zoneless'), /timestamp without zone.*timeZone: 'UTC'/)
  assert.match(reason('condition'), /`where` cannot be used: .*syntax error.*Remedy/)
  assert.match(reason('unknown_in_condition'), /`where` cannot be used: .*column "state" does not exist/)
  assert.equal(instance.of('task_failed_to_start').length, 9)

  const late = (task: string): unknown[] =>
    instance.of('lateness_applied', { task }).map((line) => [line['lateness_s'], line['reason']])
  assert.deepEqual(late('good'), [])
  assert.deepEqual(late('told'), [], 'what the config says is not argued with')
  assert.deepEqual(late('later'), [[600, 'at has no default, so whoever inserts says the time']])
  assert.match(String(late('sent')), /^600,the last 50 times of at are whole milliseconds/)
  assert.match(String(late('touched')), /^600,the trigger touch runs before each insert/)
  const undated = instance.of('rows_undated')
  assert.deepEqual(
    undated.map((line) => [line['task'], line['rows']]),
    [['later', 1]],
  )
  assert.match(
    undated[0]?.msg ?? '',
    /at is NULL.*only the sweep, every 60 min.*DEFAULT now\(\) and be NOT NULL/,
  )

  const done = async (): Promise<string> => {
    const { rows } = await pool.query<{ list: string }>(
      `SELECT coalesce(string_agg(DISTINCT source || ' ' || message_id, ', ' ORDER BY source || ' ' || message_id), '') AS list
         FROM service_ops.integration_inbox WHERE status = 'DONE' AND source IN ('good', 'later')`,
    )
    return rows[0]?.list ?? ''
  }
  await until(
    'what has a time, even an infinite one, to be DONE, and by the sweep what has none',
    async () => (await done()) === 'good 1, good 2, later 1, later 2, later 3, later 4',
  )
  await pool.query(
    'UPDATE shop.later SET at = now() WHERE at IS NULL; INSERT INTO shop.later VALUES (5, now())',
  )
  await until(
    'the next row',
    async () => (await done()) === 'good 1, good 2, later 1, later 2, later 3, later 4, later 5',
  )
  assert.deepEqual(instance.of('poll_failed'), [])
})

describe('a role without a right on', () => {
  const config = `export default { processors: {} }`
  for (const [schema, missing] of [
    ['service_ops', 'USAGE ON SCHEMA'],
    ['pgboss', 'UPDATE ON ALL TABLES IN SCHEMA'],
  ] as const) {
    test(`${schema} (${missing}) is told role, object and GRANT, and starts with it`, async (t) => {
      const database = await createDatabase(t)
      const pool = database.pool()
      await tidemark(['migrate'], { env: { DATABASE_URL: database.url } })
      const { role, url } = await plainRole(t, database)
      await pool.query(`${grants(role, 'service_ops', 'pgboss')} REVOKE ${missing} ${schema} FROM ${role}`)
      const refused = await startInstance(t, { databaseUrl: url, config, env: { RUN_MIGRATIONS: '0' } })
      assert.equal((await refused.exited).code, 1)
      const [said] = refused.of('start_failed')
      assert.match(said?.msg ?? '', new RegExp(`role ${role} lacks rights on (schema|table) ${schema}`))
      const [, grant = ''] = /Remedy: (GRANT .*)/.exec(said?.msg ?? '') ?? []
      assert.ok(grant.includes(schema), said?.msg)
      await pool.query(grant)
      const instance = await startInstance(t, { databaseUrl: url, config, env: { RUN_MIGRATIONS: '0' } })
      await instance.said('ready')
    })
  }

  test('the database cannot migrate it, and is told the GRANT by both ways of migrating', async (t) => {
    const database = await createDatabase(t, { migrated: false })
    const { role, url } = await plainRole(t, database)
    const told = new RegExp(
      `role ${role} lacks rights on database .*GRANT CREATE ON DATABASE ${database.name} TO ${role}`,
    )
    const verb = await tidemark(['migrate'], { env: { DATABASE_URL: url } })
    assert.deepEqual([verb.code, told.test(verb.stderr)], [1, true], verb.stderr)
    const instance = await startInstance(t, { databaseUrl: url, config })
    assert.equal((await instance.exited).code, 1)
    assert.match(instance.of('start_failed')[0]?.msg ?? '', told)
  })
})

test('payloads of up to 50 MB are taken in and processed beside small ones', async (t) => {
  const database = await createDatabase(t)
  const pool = database.pool()
  await pool.query(`
    CREATE TABLE seen (id text, length int);
    CREATE TABLE big (id int PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp(), body jsonb);
    INSERT INTO big SELECT i, clock_timestamp(), jsonb_build_object('n', i, 'text', repeat('tide mark ', mb * 100000))
      FROM (VALUES (1, 50), (2, 0), (3, 8), (4, 8), (5, 20), (6, 0)) v(i, mb)`)
  const instance = await startInstance(t, {
    databaseUrl: database.url,
    config: `export default {
      pollers: { big: { source: { table: 'big', id: 'id', createdAt: 'at', payload: 'body' }, every: '1s' } },
      processors: { reader: { from: 'big', contract: 'transactional', concurrency: 2, async handle({ messageId, payload }, { tx }) {
        await tx.query('INSERT INTO seen VALUES ($1, $2)', [messageId, payload.text.length])
      } } } }`,
  })
  await instance.said('ready')
  const { rows } = await until(
    'all to be seen',
    async () => {
      const seen = await pool.query<{ id: string; length: number }>('SELECT id, length FROM seen ORDER BY id')
      return seen.rowCount === 6 && seen
    },
    180_000,
  )
  assert.deepEqual(
    rows.map(({ length }) => length / 1e6),
    [50, 0, 8, 8, 20, 0],
  )
  assert.deepEqual([...instance.of('poll_failed'), ...instance.of('message_failed')], [])
})

test('a config of many faults has them all named at once, and one that throws is named; both exit 78', async (t) => {
  const cwd = await mkdtemp(join(tmpdir(), 'tidemark-bad-'))
  t.after(() => rm(cwd, { recursive: true }))
  await writeFile(join(cwd, 'throws.mjs'), "throw new Error('no password=hunter2 here')")
  await writeFile(
    join(cwd, 'wrong.mjs'),
    `const one = { from: 'orders', contract: 'external', handle() {} }
     export default { pollers: { orders: { source: { table: 'orders', id: 'id', createdAt: 'at' } } },
                      processors: { one, two: one, three: { ...one, from: 'ordres' } } }`,
  )
  const start = (file: string, env: Record<string, string> = {}) =>
    tidemark(['start', '--config', file], { cwd, env })
  const thrown = await start('throws.mjs')
  assert.equal(thrown.code, 78)
  assert.match(thrown.stderr, /throws\.mjs.*it threw Error: no password=\[redacted\] here/)
  const wrong = await start('wrong.mjs', { PORT: 'http', LEADER_LEASE_SECONDS: '-1' })
  assert.equal(wrong.code, 78)
  const lines = wrong.stderr
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { event: string; what: string; msg: string })
  assert.ok(lines.every(({ event }) => event === 'config_invalid'))
  assert.deepEqual(lines.map(({ what }) => what).sort(), [
    'LEADER_LEASE_SECONDS',
    'PORT',
    'processors.three.from',
    'processors.two.from',
  ])
  const text = lines.map(({ msg }) => msg).join('\n')
  assert.match(text, /ordres.*expected a poller or intake of this config \(orders\)/)
  assert.match(text, /processors\.one takes it, and a source has exactly one/)
})
