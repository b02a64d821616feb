-- What the dashboard's other pages ask; those of messages are in dashboard_messages.sql. All are bounded.

-- name: ages
-- $1 so many messages are looked at. What is open, by source, status and age; fresh ones above the low-water mark, the others
-- in the index of what waits. Looked at, and not found: the mark of a source that nobody processes any more stays where it is.
-- One that has no mark yet, since its processor is held from the beginning, is looked at by itself.
WITH o AS MATERIALIZED (
  (SELECT m.source, m.status, m.created_at FROM service_ops.inbox_low_water w
     JOIN LATERAL (SELECT i.source, i.status, i.created_at, i.next_attempt_at FROM service_ops.integration_inbox i
                    WHERE i.inbox_id > w.low ORDER BY i.inbox_id LIMIT $1::integer) m
       ON m.source = w.source AND m.next_attempt_at IS NULL AND m.status IN ('NEW', 'PROCESSING'))
  UNION ALL
  (SELECT m.source, m.status, m.created_at
     FROM (SELECT unnest(t.sources) AS source FROM service_ops.background_task t EXCEPT SELECT w.source FROM service_ops.inbox_low_water w) s
     JOIN LATERAL (SELECT i.source, i.status, i.created_at, i.next_attempt_at FROM service_ops.integration_inbox i
                    WHERE i.source = s.source ORDER BY i.message_id LIMIT $1::integer) m
       ON m.next_attempt_at IS NULL AND m.status IN ('NEW', 'PROCESSING'))
  UNION ALL
  (SELECT m.source, m.status, m.created_at FROM service_ops.integration_inbox m
    WHERE m.next_attempt_at IS NOT NULL ORDER BY m.source, m.next_attempt_at LIMIT $1::integer))
SELECT coalesce(jsonb_agg(jsonb_build_object('source', a.source, 'status', a.status, 'age', a.age, 'messages', a.n) ORDER BY a.source, a.status, a.age), '[]') AS ages
  FROM (SELECT o.source, o.status,
               CASE WHEN o.created_at > clock_timestamp() - interval '1 minute' THEN 0
                    WHEN o.created_at > clock_timestamp() - interval '10 minutes' THEN 1
                    WHEN o.created_at > clock_timestamp() - interval '1 hour' THEN 2 ELSE 3 END AS age,
               count(*) AS n
          FROM o GROUP BY 1, 2, 3) a;

-- name: runs
-- $1 poller, $2 outcomes, $3 below this number, $4 not below this one, $5 so many rows are looked at, $6 found at most. As `walk`.
WITH low AS MATERIALIZED (
  SELECT coalesce((SELECT b.run_id FROM service_ops.poll_run b
                    WHERE b.run_id < $3::bigint AND b.run_id >= $4::bigint
                    ORDER BY b.run_id DESC OFFSET $5::integer LIMIT 1), $4::bigint) AS reached)
SELECT (SELECT l.reached::text FROM low l) AS reached,
       (SELECT coalesce(jsonb_agg(to_jsonb(f) ORDER BY f.run_id DESC), '[]')
          FROM (SELECT r.*, round(extract(epoch FROM r.finished_at - r.started_at)::numeric * 1000) AS took_ms,
                       round(extract(epoch FROM r.started_at - r.due_at)::numeric * 1000) AS after_ms
                  FROM service_ops.poll_run r
                 WHERE r.run_id < $3::bigint AND r.run_id >= (SELECT l.reached FROM low l)
                   AND CASE WHEN ($1::text IS NULL OR r.poller = $1) AND ($2::text[] IS NULL OR r.outcome = ANY ($2::text[])) THEN true ELSE false END
                 ORDER BY r.run_id DESC LIMIT $6::integer) f) AS rows;

-- name: runs_of
-- $1 poller, $2 at most. The newest, by its index.
SELECT coalesce(jsonb_agg(to_jsonb(f) ORDER BY f.started_at DESC), '[]') AS rows
  FROM (SELECT r.*, round(extract(epoch FROM r.finished_at - r.started_at)::numeric * 1000) AS took_ms,
               round(extract(epoch FROM r.started_at - r.due_at)::numeric * 1000) AS after_ms
          FROM service_ops.poll_run r WHERE r.poller = $1 ORDER BY r.started_at DESC LIMIT $2::integer) f;

-- name: tasks
SELECT coalesce(jsonb_agg(jsonb_build_object(
         'task_name', t.task_name, 'kind', t.kind, 'led', t.led, 'paused', t.paused, 'paused_by', t.paused_by, 'paused_at', t.paused_at,
         'paused_seconds', t.paused_seconds, 'orphaned', t.orphaned, 'instances', t.instances, 'release', t.release,
         'interval_seconds', b.interval_seconds, 'source_table', b.source_table, 'sources', b.sources,
         'forgotten_before', b.forgotten_before) ORDER BY t.kind, t.task_name), '[]') AS tasks
  FROM service_ops.task_status t JOIN service_ops.background_task b USING (id);

-- name: actions
-- $1 below this number, $2 at most, $3 target, or NULL.
SELECT coalesce(jsonb_agg(to_jsonb(f) ORDER BY f.action_id DESC), '[]') AS actions
  FROM (SELECT a.* FROM service_ops.operator_action a
         WHERE a.action_id < $1::bigint AND ($3::text IS NULL OR a.target = $3)
         ORDER BY a.action_id DESC LIMIT $2::integer) f;

-- name: invariants
SELECT coalesce(jsonb_agg(to_jsonb(i) ORDER BY i.name), '[]') AS invariants FROM service_ops.invariant i;
