-- name: take
-- Messages row by row: $1 sources, $2 ids, $3 group keys, $4 trace ids, $5 traceparents, $6 attempts they have, $7 payloads as
-- JSON text, $8 apart: while no other such statement runs. Numbers follow the order of the rows. Of messages with one id the first
-- is taken, also among these; the answer names those that are new. Each message is inserted in its turn, and one that another
-- statement is inserting is waited for: two that share messages in another order deadlock, unless one of them is apart. Sorted
-- by id they would not, but then the numbers would follow the ids.
WITH entered AS MATERIALIZED (
  SELECT CASE WHEN $8::boolean THEN pg_advisory_xact_lock(k.key)::text ELSE pg_advisory_xact_lock_shared(k.key)::text END
    FROM hashtextextended('tidemark:intake', 0) k(key))
INSERT INTO service_ops.integration_inbox (source, message_id, group_key, trace_id, traceparent, max_attempts, payload, next_attempt_at)
SELECT m.source, m.message_id, m.group_key, m.trace_id, m.traceparent, m.max_attempts, m.payload::jsonb,
       CASE WHEN lined.up <> 'none' THEN statement_timestamp() END    -- lined up by its key
  FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::integer[], $7::text[]) WITH ORDINALITY
       m(source, message_id, group_key, trace_id, traceparent, max_attempts, payload, turn)
 CROSS JOIN entered
  LEFT JOIN (SELECT s.source, service_ops.lined_up(s.source) AS up FROM (SELECT DISTINCT unnest($1::text[]) AS source) s OFFSET 0) lined ON lined.source = m.source
 ORDER BY m.turn
ON CONFLICT (source, message_id) DO NOTHING
RETURNING source, message_id;

-- name: forget
-- $1 intake, $2 look at the messages above this number, $3 so many of them, $4 retention. Deletes what is DONE, and was
-- finished longer ago than the retention. The newest message of all stays: process/lowWater.ts takes the head from it.
-- Found by the primary key: see process/retention.ts. Numbers follow the time of taking in closely, so what comes after a
-- young message is young, too; one from the future is not, since the clock was ahead then.
-- Never a message of a poller that has, or once had, this name: its sweep, or that of an older release, would take the row in
-- again. Rows with a time are a poller's; of those without, the poller itself tells.
WITH p AS MATERIALIZED (
  SELECT EXISTS (SELECT FROM service_ops.integration_poll_watermark w WHERE w.poller = $1)
      OR EXISTS (SELECT FROM service_ops.background_task t WHERE t.task_name = $1 AND t.kind = 'poller') AS is_poller),
looked AS MATERIALIZED (
  SELECT m.inbox_id, m.created_at, s.is_sent AND m.status NOT IN ('DEAD', 'DISCARDED') AS may_be_soon,
         s.is_sent AND m.status = 'DONE' AND m.processed_at < now() - $4::interval
           AND m.inbox_id < (SELECT max(n.inbox_id) FROM service_ops.integration_inbox n) AS is_old
    FROM service_ops.integration_inbox m
   CROSS JOIN p CROSS JOIN LATERAL (SELECT m.source = $1 AND m.source_created_at IS NULL AND NOT p.is_poller AS is_sent) s
   WHERE m.inbox_id > $2::bigint ORDER BY m.inbox_id LIMIT $3::integer),
old AS MATERIALIZED (
  SELECT m.inbox_id FROM service_ops.integration_inbox m
   WHERE m.inbox_id = ANY (ARRAY(SELECT l.inbox_id FROM looked l WHERE l.is_old))
     AND m.status = 'DONE' AND m.processed_at < now() - $4::interval    -- under the lock: somebody may have put it back
   ORDER BY m.inbox_id FOR UPDATE SKIP LOCKED),
d AS (
  DELETE FROM service_ops.integration_inbox m WHERE m.inbox_id = ANY (ARRAY(SELECT o.inbox_id FROM old o)) RETURNING m.inbox_id, m.claim),
a AS (       -- one that was done by its first claim has none
  DELETE FROM service_ops.message_attempt a WHERE a.inbox_id = ANY (ARRAY(SELECT d.inbox_id FROM d WHERE d.claim > 1)))
SELECT (SELECT count(*) FROM d) AS forgotten,
       max(l.inbox_id) AS up_to,
       min(l.inbox_id) FILTER (WHERE (l.may_be_soon AND NOT EXISTS (SELECT FROM d WHERE d.inbox_id = l.inbox_id))
                                  OR l.created_at > now() - $4::interval) AS soon,
       count(*) < $3::integer OR bool_or(l.created_at > now() - $4::interval AND l.created_at <= now()) AS is_last
  FROM looked l;
