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
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS push_cursor ON bench.push (created_at, id);

-- name: push
INSERT INTO bench.push DEFAULT VALUES;

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
-- $1 rows, $2 keys, as a poller leaves them for a source with slots, and the rows of its keys.
WITH l AS (
  INSERT INTO service_ops.slot_limit (source, group_key, default_slots)
  SELECT 'bench', k, NULL FROM (SELECT '*' AS k UNION ALL SELECT 'key ' || n FROM generate_series(0, $2::integer - 1) n) x)
INSERT INTO service_ops.integration_inbox (source, message_id, source_created_at, payload, group_key, trace_id, next_attempt_at)
SELECT 'bench', n::text, now(), jsonb_build_object('n', n, 'kind', 'bench', 'text', repeat(md5(n::text), 5)), 'key ' || n % $2::integer, md5(n::text), now()
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

-- name: count_inbox
SELECT count(*)::integer AS rows, count(*) FILTER (WHERE i.status = 'DONE' AND i.claim = 1)::integer AS done
  FROM service_ops.integration_inbox i;

-- name: count_bare
SELECT count(*)::integer AS rows, count(*) FILTER (WHERE i.status = 'DONE')::integer AS done FROM bench.inbox i;

-- name: counters
-- $1 table. Bytes of WAL so far, and updates of the table so far.
SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8 AS wal,
       s.n_tup_upd::float8 AS updates, s.n_tup_hot_upd::float8 AS hot
  FROM pg_catalog.pg_stat_user_tables s WHERE s.relid = $1::regclass;

-- name: bare_take
-- $1 id, $2 payload. What people write who take messages in by themselves.
INSERT INTO service_ops.integration_inbox (source, message_id, trace_id, payload) VALUES ('bench', $1, md5($1), $2::jsonb)
ON CONFLICT (source, message_id) DO NOTHING;

-- name: count_processed
SELECT count(*) FILTER (WHERE i.status <> 'DONE')::integer AS open, count(*) FILTER (WHERE i.attempts > 1)::integer AS again
  FROM service_ops.integration_inbox i;
