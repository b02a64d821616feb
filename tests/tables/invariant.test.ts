import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readInvariants } from '../../src/tables/invariant.ts'
import type { InvariantResult } from '../../src/tables/status.ts'
import { createDatabase } from '../support/database.ts'

/** By a role that may read our schema and not the source, with a source whose schema is gone, and with what is broken. */
test('the invariants one by one say what service_ops.verify() says of all of them', async (t) => {
  const database = await createDatabase(t)
  const admin = await database.client()
  const role = `${database.name}_reader`
  await admin.query(`CREATE ROLE ${role}`)
  t.after(async () => {
    await admin.query('RESET ROLE')
    await admin.query(`DROP OWNED BY ${role}`)
    await admin.query(`DROP ROLE ${role}`)
  })
  await admin.query(`
    CREATE SCHEMA "My Shop";
    CREATE TABLE "My Shop".orders (id bigint PRIMARY KEY, created_at timestamptz NOT NULL);
    CREATE TABLE public.notes (id bigint PRIMARY KEY, created_at timestamptz NOT NULL);
    INSERT INTO public.notes VALUES (1, now() - interval '1 day');
    GRANT USAGE ON SCHEMA service_ops TO ${role};
    GRANT SELECT ON ALL TABLES IN SCHEMA service_ops TO ${role};
    GRANT SELECT ON public.notes TO ${role};
    INSERT INTO service_ops.background_task (id, task_name, kind, led, source_table, source_columns, config_hash, release)
    SELECT n, name, 'poller', true, source, '{"id": "id", "created_at": "created_at"}', '', ''
      FROM (VALUES (1, 'orders', '"My Shop".orders'), (2, 'notes', 'public.notes'), (3, 'no mark', 'public.notes')) v(n, name, source);
    INSERT INTO service_ops.integration_poll_watermark (id, poller, edge, holder, term, pass)
    VALUES (1, 'orders', '-infinity', gen_random_uuid(), 0, 0), (2, 'notes', now(), gen_random_uuid(), 0, 0);
    INSERT INTO service_ops.leader_term (task_name, term) VALUES ('orders', 1), ('notes', 1);
    INSERT INTO service_ops.integration_inbox (source, message_id, trace_id, attempts, max_attempts) VALUES ('notes', '7', 't', 11, 10);
    SET ROLE ${role}`)

  const { rows: all } = await admin.query<InvariantResult & { found: string | null }>(
    'SELECT name, ok, found::integer, detail, query FROM service_ops.verify() ORDER BY name',
  )
  const each = await readInvariants((ask) => ask(admin))
  assert.deepEqual(each, all)
  const of = (name: string) => each.find((one) => one.name === name)
  assert.match(
    of('nothing_below_the_edge_is_missing:orders')?.detail ?? '',
    /GRANT USAGE ON SCHEMA "My Shop"/,
  )
  assert.deepEqual(
    [of('nothing_below_the_edge_is_missing:notes')?.found, of('attempts_are_bounded')?.ok],
    [1, false],
  )
  assert.equal(of('nothing_below_the_edge_is_missing:no mark'), undefined)

  // The remedy is looked up for all of them at once: one whose schema is gone must not fail that.
  await admin.query('RESET ROLE; DROP SCHEMA "My Shop" CASCADE')
  const gone = (await readInvariants((ask) => ask(admin))).find(({ name }) => name.endsWith(':orders'))
  assert.equal(gone?.ok, null)
  assert.match(gone.detail, /^could not run: .*does not exist/)
})
