import assert from 'node:assert/strict'
import { test } from 'node:test'
import { tidemark } from '../cli/tidemark.ts'
import { createDatabase } from '../support/database.ts'
import { startInstance } from '../support/instance.ts'
import { until } from '../support/until.ts'

/**
 * Look-alikes of what the statements use unqualified, each of which would do harm if it were called: on the path before
 * pg_catalog, of the very same argument types.
 */
const LOOK_ALIKES = `
  CREATE SCHEMA evil;
  CREATE FUNCTION evil.boom() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'a look-alike was called'; END $$;
  CREATE FUNCTION evil.now() RETURNS timestamptz LANGUAGE sql AS $$ SELECT pg_catalog.now() - interval '10 years' WHERE evil.boom() $$;
  CREATE FUNCTION evil.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ SELECT pg_catalog.now() WHERE evil.boom() $$;
  CREATE FUNCTION evil.statement_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ SELECT pg_catalog.now() WHERE evil.boom() $$;
  CREATE FUNCTION evil.hashtextextended(text, bigint) RETURNS bigint LANGUAGE sql AS $$ SELECT 0::bigint WHERE evil.boom() $$;
  CREATE FUNCTION evil.pg_try_advisory_lock(bigint) RETURNS boolean LANGUAGE sql AS $$ SELECT evil.boom() $$;
  CREATE FUNCTION evil.to_regclass(text) RETURNS regclass LANGUAGE sql AS $$ SELECT NULL::regclass WHERE evil.boom() $$;
  CREATE FUNCTION evil.pg_backend_pid() RETURNS integer LANGUAGE sql AS $$ SELECT 0 WHERE evil.boom() $$;
  CREATE FUNCTION evil.gen_random_uuid() RETURNS uuid LANGUAGE sql AS $$ SELECT NULL::uuid WHERE evil.boom() $$;
  CREATE FUNCTION evil.not_equal(bigint, bigint) RETURNS boolean LANGUAGE sql AS $$ SELECT evil.boom() $$;
  CREATE OPERATOR evil.= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = evil.not_equal);
  CREATE OPERATOR evil.< (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = evil.not_equal);
  CREATE TABLE evil.migrations (id integer PRIMARY KEY, name text, hash text);
  INSERT INTO evil.migrations SELECT i, 'theirs', 'x' FROM generate_series(0, 60) i;
  CREATE TABLE evil.integration_inbox (nothing int); CREATE TABLE evil.background_task (nothing int);
  CREATE TABLE evil.schema_window (nothing int); CREATE TABLE evil.job (nothing int); CREATE TABLE evil.version (nothing int);
  CREATE TABLE evil.pg_locks (nothing int); CREATE TABLE evil.pg_class (nothing int); CREATE TABLE evil.pg_stat_activity (nothing int);
`

test('a hostile role and odd names: migrated, ingested and processed, each row once, and every invariant holds', async (t) => {
  const database = await createDatabase(t, { migrated: false })
  const pool = database.pool()
  const role = `Odd "Role" ${database.name.slice(-6)}`
  const quoted = `"${role.replaceAll('"', '""')}"`
  await pool.query(`
    ${LOOK_ALIKES}
    CREATE TABLE public.migrations (id integer PRIMARY KEY, name text, hash text);
    CREATE ROLE ${quoted} LOGIN SUPERUSER PASSWORD 'p''x';
    ALTER ROLE ${quoted} SET default_transaction_isolation = 'serializable';
    ALTER ROLE ${quoted} SET search_path = evil, pg_catalog, "My Schema", public;
    CREATE SCHEMA "My Schema";
    CREATE TABLE "My Schema"."Größe ""🌊"" x.y" (
      "Id, with" bigint PRIMARY KEY, "Select" timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(), "p'ayload $1" jsonb, "🔑 key" text, "State" text);
    CREATE TABLE "My Schema".effects ("Id" text PRIMARY KEY, isolation text, "n" int);
    INSERT INTO "My Schema"."Größe ""🌊"" x.y"
    SELECT i, pg_catalog.clock_timestamp(), pg_catalog.jsonb_build_object('n', i), 'Ünï ''key'' ' || i % 3, CASE WHEN i % 10 = 0 THEN 'dra''ft' ELSE 'ok' END
      FROM generate_series(1, 100) i`)
  t.after(async () => {
    await pool.query(`DROP OWNED BY ${quoted}; DROP ROLE ${quoted}`)
  })
  const url = new URL(database.url)
  url.username = encodeURIComponent(role)
  url.password = encodeURIComponent("p'x")

  const instance = await startInstance(t, {
    databaseUrl: url.href,
    // The table is found by the role's own path, and so is the handler's.
    config: `export default {
      pollers: { odd: { every: '1s', source: {
        table: '"Größe ""🌊"" x.y"', id: 'Id, with', createdAt: 'Select', payload: "p'ayload $1", groupKey: '🔑 key', where: '"State" <> \\'dra\\'\\'ft\\'' } } },
      processors: { taker: { from: 'odd', contract: 'transactional', exclusive: true, concurrency: 4, async handle({ messageId, payload, groupKey }, { tx }) {
        if (!groupKey.startsWith("Ünï 'key' ")) throw new Error('the key was changed')
        await tx.query("INSERT INTO effects VALUES ($1, current_setting('transaction_isolation'), $2)", [messageId, payload.n])
      } } },
      jobs: { nightly: { cron: '0 3 * * *', handle() {} } },
    }`,
  })
  await instance.said('ready')
  const { rows } = await until('the rows of the condition to be done', async () => {
    const done = await pool.query<{ n: number; same: boolean; isolation: string }>(
      `SELECT count(*)::int AS n, bool_and("Id" = n::text) AS same, min(isolation) AS isolation FROM "My Schema".effects`,
    )
    return (done.rows[0]?.n ?? 0) >= 90 && done
  })
  assert.deepEqual(rows, [{ n: 90, same: true, isolation: 'read committed' }])
  await until('the edge to pass the rows', async () => {
    const passed = await pool.query(
      `SELECT FROM service_ops.integration_poll_watermark WHERE edge > (SELECT max("Select") FROM "My Schema"."Größe ""🌊"" x.y")`,
    )
    return passed.rowCount === 1
  })
  const env = { DATABASE_URL: url.href }
  const verified = await tidemark(['verify'], { env })
  assert.equal(verified.code, 0, verified.stdout + verified.stderr)
  assert.equal((await tidemark(['status'], { env })).code, 0)
  assert.match((await tidemark(['migrate'], { env })).stdout, /nothing to apply/)
  for (const event of [
    'poll_failed',
    'message_failed',
    'loop_failed',
    'leader_lost',
    'task_failed_to_start',
  ] as const)
    assert.deepEqual(instance.of(event), [], event)
  const { rows: theirs } = await pool.query(
    `SELECT (SELECT count(*)::int FROM public.migrations) AS public, (SELECT count(*)::int FROM evil.migrations WHERE hash = 'x') AS evil`,
  )
  assert.deepEqual(theirs, [{ public: 0, evil: 61 }])
  instance.kill('SIGTERM')
  assert.equal((await instance.exited).code, 0)
})
