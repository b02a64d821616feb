-- Statements of the bench: its own tables, and the bare SQL that Tidemark is compared with.

-- name: make_tables
-- A source as people have it, and an inbox as people make it: one table with a partial index on what is open.
CREATE SCHEMA IF NOT EXISTS bench;
CREATE TABLE IF NOT EXISTS bench.source (
  message_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  created_at timestamptz NOT NULL DEFAULT now(),
  payload    jsonb NOT NULL
);
CREATE INDEX IF NOT EXISTS source_cursor ON bench.source (created_at, message_id);
CREATE TABLE IF NOT EXISTS bench.inbox (
  id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  source       text NOT NULL,
  message_id   text NOT NULL,
  status       text NOT NULL DEFAULT 'NEW',
  attempts     integer NOT NULL DEFAULT 0,
  locked_by    text,
  locked_at    timestamptz,
  created_at   timestamptz NOT NULL DEFAULT now(),
  processed_at timestamptz,
  payload      jsonb,
  UNIQUE (source, message_id)
);
CREATE INDEX IF NOT EXISTS inbox_open ON bench.inbox (id) WHERE status = 'NEW';

-- name: make_push
CREATE TABLE IF NOT EXISTS bench.push (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  created_at timestamptz NOT NULL DEFAULT now(),
  body       jsonb
);
CREATE INDEX IF NOT EXISTS push_cursor ON bench.push (created_at, id);

-- name: push
-- $1 number.
INSERT INTO bench.push (body) VALUES (jsonb_build_object('n', $1::integer));

-- name: make_bare_queue
CREATE TABLE IF NOT EXISTS bench.queue (
  id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  status text NOT NULL DEFAULT 'NEW',
  body   jsonb
);
CREATE INDEX IF NOT EXISTS queue_open ON bench.queue (id) WHERE status = 'NEW';

-- name: add_one
-- $1 number.
WITH added AS (INSERT INTO bench.queue (body) VALUES (jsonb_build_object('n', $1::integer)))
SELECT pg_notify('bench_queue', '');

-- name: claim_one
UPDATE bench.queue q SET status = 'DONE'
 WHERE q.id = (SELECT o.id FROM bench.queue o WHERE o.status = 'NEW' ORDER BY o.id LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING q.id, q.body;

-- name: make_idle
-- Two sources that stay empty.
CREATE TABLE first (id bigint PRIMARY KEY, created_at timestamptz NOT NULL DEFAULT now(), body jsonb);
CREATE INDEX ON first (created_at, id);
CREATE TABLE second (LIKE first INCLUDING ALL);

-- name: make_start
-- A source, read with nothing in it.
CREATE SCHEMA IF NOT EXISTS bench;
CREATE TABLE IF NOT EXISTS bench.start (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS start_cursor ON bench.start (created_at, id);

-- name: empty
-- Truncated tables have no dead rows left by the contestant before. The low-water mark must not outlive its inbox.
TRUNCATE bench.inbox, service_ops.integration_inbox, service_ops.inbox_low_water, service_ops.poll_candidate,
         service_ops.integration_poll_watermark, service_ops.background_task_leader, service_ops.poll_run, service_ops.slot_limit;

-- name: empty_inbox
-- Beside an instance that runs; its processors, if it has any, begin again by themselves.
TRUNCATE service_ops.integration_inbox;

-- name: fill_source
-- $1 rows: a millisecond apart, the newest an hour old, about 200 bytes of payload each.
WITH emptied AS (DELETE FROM bench.source)
INSERT INTO bench.source (created_at, payload)
SELECT now() - interval '1 hour' - ($1::integer - n) * interval '1 ms',
       jsonb_build_object('n', n, 'kind', 'bench', 'text', repeat(md5(n::text), 5))
  FROM generate_series(1, $1::integer) n;

-- name: fill_inbox
-- $1 rows, as a poller leaves them.
INSERT INTO service_ops.integration_inbox (source, message_id, source_created_at, payload, trace_id)
SELECT 'bench', n::text, now(), jsonb_build_object('n', n, 'kind', 'bench', 'text', repeat(md5(n::text), 5)), md5(n::text)
  FROM generate_series(1, $1::integer) n;

-- name: fill_keyed
-- $1 rows, $2 keys, $3 ordered: as a poller leaves them for a source that has slots, and the rows of its keys.
WITH l AS (
  INSERT INTO service_ops.slot_limit (source, group_key, ordered, by_number_above)
  SELECT 'bench', k, $3::boolean AND k = '*', 0 FROM (SELECT '*' AS k UNION ALL SELECT 'key ' || n FROM generate_series(0, $2::integer - 1) n) x)
INSERT INTO service_ops.integration_inbox (source, message_id, source_created_at, payload, group_key, trace_id)
SELECT 'bench', n::text, now(), jsonb_build_object('n', n, 'kind', 'bench', 'text', repeat(md5(n::text), 5)), 'key ' || n % $2::integer, md5(n::text)
  FROM generate_series(1, $1::integer) n;

-- name: fill_bare
-- $1 rows.
INSERT INTO bench.inbox (source, message_id, payload)
SELECT 'bench', n::text, jsonb_build_object('n', n, 'kind', 'bench', 'text', repeat(md5(n::text), 5))
  FROM generate_series(1, $1::integer) n;

-- name: bare_page
-- $1 $2 cursor, $3 page size. The keyset statement that people write: no fence, no edge, rows that commit late are lost.
WITH page AS MATERIALIZED (
  SELECT s.message_id, s.created_at, s.payload FROM bench.source s
   WHERE (s.created_at, s.message_id) > ($1::timestamptz, $2::bigint)
   ORDER BY s.created_at, s.message_id LIMIT $3::integer),
ins AS (
  INSERT INTO service_ops.integration_inbox (source, message_id, source_created_at, payload, trace_id)
  SELECT 'bench', p.message_id::text, p.created_at, p.payload, p.message_id::text FROM page p
  ON CONFLICT DO NOTHING)
SELECT p.created_at::text AS created_at, p.message_id, (SELECT count(*) FROM page) AS n
  FROM page p ORDER BY p.created_at DESC, p.message_id DESC LIMIT 1;

-- name: bare_claim
-- $1 client, $2 rows.
WITH c AS MATERIALIZED (
  SELECT i.id FROM bench.inbox i WHERE i.status = 'NEW' ORDER BY i.id LIMIT $2::integer FOR UPDATE SKIP LOCKED)
UPDATE bench.inbox i SET status = 'PROCESSING', attempts = i.attempts + 1, locked_by = $1, locked_at = now()
  FROM c WHERE i.id = c.id
RETURNING i.id, i.payload;

-- name: bare_mark
-- $1 ids.
UPDATE bench.inbox i SET status = 'DONE', processed_at = now(), locked_by = NULL, locked_at = NULL WHERE i.id = ANY ($1::bigint[]);

-- name: bare_delete
-- $1 ids.
DELETE FROM bench.inbox i WHERE i.id = ANY ($1::bigint[]);

-- name: own_claim
-- $1 client, $2 rows, $3 low-water mark. The same two statements on Tidemark's table, as it would be used by hand.
WITH c AS MATERIALIZED (
  SELECT i.inbox_id FROM service_ops.integration_inbox i
   WHERE i.inbox_id > $3::bigint AND i.status = 'NEW' ORDER BY i.inbox_id LIMIT $2::integer FOR UPDATE SKIP LOCKED)
UPDATE service_ops.integration_inbox i
   SET status = 'PROCESSING', claim = i.claim + 1, attempts = i.attempts + 1, locked_by = $1, locked_at = now()
 WHERE i.inbox_id = ANY (ARRAY(SELECT c.inbox_id FROM c))
RETURNING i.inbox_id AS id, i.payload;

-- name: own_mark
-- $1 ids.
UPDATE service_ops.integration_inbox i SET status = 'DONE', processed_at = now(), locked_by = NULL, locked_at = NULL
 WHERE i.inbox_id = ANY ($1::bigint[]);

-- name: bare_take_one
-- $1 the last that this client took. One message taken and marked in one statement, in the transaction of its effect.
UPDATE bench.inbox i SET status = 'DONE', attempts = i.attempts + 1, processed_at = now()
 WHERE i.id = ANY (ARRAY(
  SELECT n.id FROM bench.inbox n
   WHERE n.id > $1::bigint AND n.status = 'NEW' ORDER BY n.id LIMIT 1 FOR UPDATE SKIP LOCKED))
RETURNING i.id, i.payload;

-- name: own_take_one
-- $1 the last that this client took. The same on Tidemark's table.
UPDATE service_ops.integration_inbox i
   SET status = 'DONE', claim = i.claim + 1, attempts = i.attempts + 1, processed_at = now()
 WHERE i.inbox_id = ANY (ARRAY(
  SELECT n.inbox_id FROM service_ops.integration_inbox n
   WHERE n.inbox_id > $1::bigint AND n.status = 'NEW' ORDER BY n.inbox_id LIMIT 1 FOR UPDATE SKIP LOCKED))
RETURNING i.inbox_id AS id, i.payload;

-- name: make_accounts
-- What transactional handlers write to: a row a message.
CREATE TABLE IF NOT EXISTS bench.account (id integer PRIMARY KEY, balance integer NOT NULL DEFAULT 0);

-- name: fill_accounts
-- $1 rows.
INSERT INTO bench.account (id) SELECT n FROM generate_series(1, $1::integer) n;

-- name: credit
-- $1 account.
UPDATE bench.account a SET balance = a.balance + 1 WHERE a.id = $1::integer;

-- name: count_accounts
SELECT count(*) FILTER (WHERE a.balance = 1)::integer AS once FROM bench.account a;

-- name: count_inbox
SELECT count(*)::integer AS rows, count(*) FILTER (WHERE i.status = 'DONE' AND i.claim = 1)::integer AS done
  FROM service_ops.integration_inbox i;

-- name: count_bare
SELECT count(*)::integer AS rows, count(*) FILTER (WHERE i.status = 'DONE')::integer AS done FROM bench.inbox i;

-- name: counters
-- $1 table. Bytes of WAL, commits, and updates of the table, so far.
SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8 AS wal,
       (SELECT d.xact_commit::float8 FROM pg_catalog.pg_stat_database d WHERE d.datname = current_database()) AS commits,
       s.n_tup_upd::float8 AS updates, s.n_tup_hot_upd::float8 AS hot
  FROM pg_catalog.pg_stat_user_tables s WHERE s.relid = $1::regclass;

-- name: bare_take
-- $1 id, $2 payload. What people write who take messages in by themselves.
INSERT INTO service_ops.integration_inbox (source, message_id, trace_id, payload) VALUES ('bench', $1, md5($1), $2::jsonb)
ON CONFLICT (source, message_id) DO NOTHING;

-- name: count_processed
SELECT count(*) FILTER (WHERE i.status <> 'DONE')::integer AS open, count(*) FILTER (WHERE i.attempts > 1)::integer AS again
  FROM service_ops.integration_inbox i;

-- name: make_groups
-- Two sources, for handlers of one message and of batches, and what handlers say of themselves.
CREATE TABLE IF NOT EXISTS bench.group_single (
  id         bigint PRIMARY KEY,
  tenant     text NOT NULL,
  work_ms    integer NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS group_single_cursor ON bench.group_single (created_at, id);
CREATE TABLE IF NOT EXISTS bench.group_batch (LIKE bench.group_single INCLUDING ALL);
CREATE TABLE IF NOT EXISTS bench.visit (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  side       text NOT NULL,
  process    text NOT NULL,
  tenant     text NOT NULL,
  message    bigint NOT NULL,
  entered_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  left_at    timestamptz,
  cut        boolean NOT NULL DEFAULT false
);
CREATE INDEX IF NOT EXISTS visit_open ON bench.visit (side, process) WHERE left_at IS NULL;

-- name: write_groups
-- $1 first number, $2 last, $3 tenants, $4 milliseconds of work at least. A burst for both sources, in one commit.
WITH m AS (
  SELECT n, n % $3::integer AS t, $4::integer + (n * 7919 % ($4::integer + 1))::integer AS ms
    FROM generate_series($1::bigint, $2::bigint) n),
s AS (INSERT INTO bench.group_single (id, tenant, work_ms) SELECT m.n, 'tenant ' || m.t, m.ms FROM m WHERE m.t % 2 = 0)
INSERT INTO bench.group_batch (id, tenant, work_ms) SELECT m.n, 'tenant ' || m.t, m.ms FROM m WHERE m.t % 2 = 1;

-- name: notify
-- $1 channel, $2 payload.
SELECT pg_notify($1, $2);

-- name: notify_boss
-- $1 schema, $2 queue. As pg-boss notifies its workers.
SELECT pg_notify('pgboss_' || left(encode(sha224($1::text::bytea), 'hex'), 24), $2);

-- name: enter
-- $1 side, $2 process, $3 tenants, $4 messages. Handlers that begin.
INSERT INTO bench.visit (side, process, tenant, message)
SELECT $1, $2, u.tenant, u.message FROM unnest($3::text[], $4::bigint[]) u(tenant, message)
RETURNING id;

-- name: leave
-- $1 visits. Handlers that end.
UPDATE bench.visit v SET left_at = clock_timestamp() WHERE v.id = ANY ($1::bigint[]);

-- name: busiest
-- $1 side. The process with most in its handlers.
SELECT v.process FROM bench.visit v WHERE v.side = $1 AND v.left_at IS NULL GROUP BY v.process ORDER BY count(*) DESC LIMIT 1;

-- name: connected
-- $1 application name.
SELECT count(*)::integer AS n FROM pg_catalog.pg_stat_activity a WHERE a.application_name = $1;

-- name: cut
-- $1 side, $2 process. A killed process does not say that its handlers have ended.
UPDATE bench.visit v SET left_at = greatest(clock_timestamp(), v.entered_at), cut = true
 WHERE v.side = $1 AND v.process = $2 AND v.left_at IS NULL;

-- name: at_once
-- $1 side, $2 limit, $3 from this message on. Beginnings and ends in order of time, and how many of the tenant are inside after each.
WITH e AS (
  SELECT v.tenant, x.at, x.step
    FROM bench.visit v CROSS JOIN LATERAL (VALUES (v.entered_at, 1), (v.left_at, -1)) x(at, step)
   WHERE v.side = $1 AND v.message >= $3::bigint AND x.at IS NOT NULL),
i AS (
  SELECT e.tenant, e.step, sum(e.step) OVER w AS inside, lead(e.at) OVER w - e.at AS lasted
    FROM e WINDOW w AS (PARTITION BY e.tenant ORDER BY e.at, e.step))
SELECT coalesce(max(i.inside), 0)::integer AS most,
       count(*) FILTER (WHERE i.step = 1)::integer AS starts,
       count(*) FILTER (WHERE i.step = 1 AND i.inside > $2::integer)::integer AS "startsAbove",
       count(DISTINCT i.tenant) FILTER (WHERE i.inside > $2::integer)::integer AS "tenantsAbove",
       coalesce(extract(epoch FROM sum(i.lasted) FILTER (WHERE i.inside > $2::integer)), 0)::float8 AS "secondsAbove",
       count(DISTINCT i.tenant) FILTER (WHERE i.inside >= $2::integer)::integer AS "tenantsFull"
  FROM i;

-- name: runs
-- $1 side, $2 killed processes. How often messages ran; more than once where a process died is what a queue owes.
WITH m AS (
  SELECT v.message, count(*) AS runs, count(*) FILTER (WHERE v.process = ANY ($2::text[])) AS killed,
         bool_or(NOT v.cut AND v.left_at IS NOT NULL) AS ended
    FROM bench.visit v WHERE v.side = $1 GROUP BY v.message)
SELECT count(*) FILTER (WHERE m.ended)::integer AS ended,
       count(*) FILTER (WHERE m.runs > 1)::integer AS again,
       count(*) FILTER (WHERE m.runs > 1 AND m.killed < m.runs - 1)::integer AS "againUnkilled",
       (SELECT count(*)::integer FROM bench.visit v WHERE v.side = $1 AND v.cut) AS cut
  FROM m;

-- name: count_groups
-- Sources of the comparison of group limits.
SELECT count(*) FILTER (WHERE i.status = 'DONE')::integer AS done FROM service_ops.integration_inbox i
 WHERE i.source IN ('bench_singles', 'bench_batches');

-- name: held_slots
SELECT coalesce(sum(s.in_use), 0)::integer AS held FROM service_ops.slot_status s WHERE s.source IN ('bench_singles', 'bench_batches');

-- name: count_boss
SELECT count(*) FILTER (WHERE j.state = 'completed')::integer AS done, count(*) FILTER (WHERE j.state = 'active')::integer AS held
  FROM bench_groups.job j WHERE j.name IN ('bench_singles', 'bench_batches');
