-- Statements of the parts that ask what a full inbox and a held edge cost.

-- name: fill_finished
-- $1 $2 first and last number. As processors leave them, an hour ago at the latest; payloads are small.
INSERT INTO service_ops.integration_inbox (source, message_id, status, claim, attempts, max_attempts, payload, trace_id, source_created_at, created_at, updated_at, processed_at)
SELECT 'bench', n::text, 'DONE', 1, 1, 10, jsonb_build_object('n', n), md5(n::text), t.at, t.at, t.at, t.at
  FROM generate_series($1::bigint, $2::bigint) n CROSS JOIN LATERAL (SELECT now() - interval '3 hours' + n * interval '100 us' AS at) t;

-- name: keep_low_water
-- As a processor leaves it: nothing is open up to here.
INSERT INTO service_ops.inbox_low_water (source, low) SELECT 'bench', max(i.inbox_id) FROM service_ops.integration_inbox i
ON CONFLICT (source) DO UPDATE SET low = EXCLUDED.low;

-- name: highest
SELECT coalesce(max(i.inbox_id), 0)::text AS id FROM service_ops.integration_inbox i;

-- name: forget
-- $1 the last of the finished rows: what came after is of the turn before.
DELETE FROM service_ops.integration_inbox i WHERE i.inbox_id > $1::bigint;

-- name: fill_open
-- $1 $2 first and last number. As a poller leaves them.
INSERT INTO service_ops.integration_inbox (source, message_id, source_created_at, payload, trace_id)
SELECT 'bench', n::text, now(), jsonb_build_object('n', n, 'kind', 'bench', 'text', repeat(md5(n::text), 5)), md5(n::text)
  FROM generate_series($1::bigint, $2::bigint) n;

-- name: forget_poller
TRUNCATE service_ops.poll_candidate, service_ops.integration_poll_watermark, service_ops.background_task_leader, service_ops.poll_run;

-- name: refill_source
-- $1 $2 first and last number: a millisecond apart, the newest an hour old.
WITH emptied AS (DELETE FROM bench.source)
INSERT INTO bench.source (message_id, created_at, payload) OVERRIDING SYSTEM VALUE
SELECT n, now() - interval '1 hour' - ($2::bigint - n) * interval '1 ms', jsonb_build_object('n', n, 'kind', 'bench', 'text', repeat(md5(n::text), 5))
  FROM generate_series($1::bigint, $2::bigint) n;

-- name: count_after
-- $1 the last of the finished rows.
SELECT count(*)::integer AS rows, count(*) FILTER (WHERE i.status = 'DONE' AND i.claim = 1 AND i.attempts = 1)::integer AS done
  FROM service_ops.integration_inbox i WHERE i.inbox_id > $1::bigint;

-- name: write_source
-- $1 rows, now.
INSERT INTO bench.source (payload)
SELECT jsonb_build_object('n', n, 'kind', 'bench', 'text', repeat(md5(n::text), 5)) FROM generate_series(1, $1::integer) n;

-- name: edge
-- $1 poller. How far behind now everything is proven, and whether that is past $2.
SELECT extract(epoch FROM clock_timestamp() - w.edge)::float8 AS "lagS", coalesce(w.edge > $2::timestamptz, false) AS past
  FROM service_ops.integration_poll_watermark w WHERE w.poller = $1;

-- name: fill_troubled
-- As a bad day leaves them: given up at the very beginning, failed and open at the end, and one key that is rare.
INSERT INTO service_ops.integration_inbox (source, message_id, status, claim, attempts, payload, trace_id, source_created_at, next_attempt_at, last_error, group_key)
SELECT 'bench', 'troubled-' || n, CASE n % 3 WHEN 0 THEN 'DEAD' WHEN 1 THEN 'FAILED' ELSE 'NEW' END, 1, 1, '{}', md5('troubled' || n), now(),
       CASE n % 3 WHEN 0 THEN 'infinity'::timestamptz WHEN 1 THEN now() + interval '1 hour' END,
       CASE WHEN n % 3 < 2 THEN (ARRAY['TypeError: no', 'RangeError: far', 'DatabaseError: [23505] there'])[n % 7 % 3 + 1] END,
       CASE WHEN n % 5000 = 0 THEN 'rare' ELSE 'key-' || n % 100 END
  FROM generate_series(1, 15000) n;

-- name: fill_ledger
-- Eight days of a poller at 2 s, as the ledger keeps them.
INSERT INTO service_ops.poll_run (poller, due_at, started_at, finished_at, outcome, rows_read, rows_inserted, term, instance_id)
SELECT 'bench', t.at, t.at, t.at, CASE WHEN n = 100 THEN 'failed' ELSE 'ran' END, 10, 1, 1, 'bench-1'
  FROM generate_series(1, 345600) n CROSS JOIN LATERAL (SELECT now() - interval '8 days' + n * interval '2 s' AS at) t;

-- name: fill_task
INSERT INTO service_ops.background_task (id, task_name, kind, led, config_hash, release, interval_seconds, source_table, sources)
VALUES (1, 'bench', 'poller', true, 'x', '1', 2, 'bench.source', NULL), (2, 'benching', 'processor', false, 'x', '1', NULL, NULL, '{bench}');

-- name: fill_history
-- Eight days of three busy sources on two instances, 60 rows a minute, as instances and samples leave them.
INSERT INTO service_ops.history_minute (at, name, key, value)
SELECT date_trunc('minute', now()) - m * interval '1 minute', s.name, s.key, 1 + (m * 7919 + length(s.key)) % 97
  FROM generate_series(11519, 0, -1) m
 CROSS JOIN (
       SELECT n.name, o.source || n.suffix AS key
         FROM unnest('{orders,mails,invoices}'::text[]) o(source)
        CROSS JOIN (
              SELECT unnest('{ingested,done,failed,oldest_seconds,lag_seconds,edge_lag_seconds}'::text[]), ''
               UNION ALL SELECT 'latency', ' ' || unnest('{0.05,0.1,0.25,0.5,1,5}'::text[])
               UNION ALL SELECT 'handler', ' ' || unnest('{0.005,0.01,0.05,0.25}'::text[])
               UNION ALL SELECT 'backlog', ' ' || unnest('{NEW,PROCESSING,FAILED}'::text[])) n(name, suffix)
        UNION ALL SELECT 'instances', 'ready'
        UNION ALL SELECT 'flushed', unnest('{bench-1,bench-2}'::text[])) s
 ORDER BY 1, 2, 3;

-- name: fill_slots
-- Ten thousand keys, and fifty of them with two messages in work each.
WITH held AS (
  INSERT INTO service_ops.integration_inbox (source, message_id, status, claim, attempts, payload, trace_id, source_created_at, locked_by, locked_at, group_key)
  SELECT 'bench', 'held-' || n, 'PROCESSING', 1, 1, '{}', md5('held' || n), now(), 'bench-1', now(), 'key-' || n % 50
    FROM generate_series(0, 99) n
  RETURNING inbox_id, group_key)
INSERT INTO service_ops.slot_limit (source, group_key, default_slots, paused, held, held_claims)
SELECT 'bench', 'key-' || n, NULL::integer, n % 1000 = 999,
       coalesce((SELECT array_agg(h.inbox_id) FROM held h WHERE h.group_key = 'key-' || n), '{}'),
       coalesce((SELECT array_agg(1) FROM held h WHERE h.group_key = 'key-' || n), '{}')
  FROM generate_series(0, 9999) n
 UNION ALL SELECT 'bench', '*', 2, false, '{}', '{}';
