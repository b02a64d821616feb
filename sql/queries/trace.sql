-- The stories of traces, for people.

-- name: story
-- $1 trace id.
SELECT to_char(t.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS at, t.since_start_ms, t.what, t.who, t.detail
  FROM service_ops.trace($1) t;

-- name: of_message_id
-- $1 id of a message at its source. Source by source, as far as any task is known to have it: each look is one probe of the
-- unique index.
SELECT m.source, m.trace_id
  FROM (SELECT DISTINCT unnest(t.sources) AS source FROM service_ops.background_task t WHERE t.kind = 'processor'
        UNION
        SELECT t.task_name FROM service_ops.background_task t WHERE t.kind = 'poller') s
 CROSS JOIN LATERAL (
       SELECT i.source, i.trace_id FROM service_ops.integration_inbox i WHERE i.source = s.source AND i.message_id = $1 LIMIT 1) m
 ORDER BY m.source;

-- name: parents
-- $1 ids. What messages came with, where somebody listens: a claim does not bring it along, since most have none.
SELECT m.inbox_id, m.traceparent
  FROM service_ops.integration_inbox m
 WHERE m.inbox_id = ANY (ARRAY(SELECT unnest($1::bigint[]))) AND CASE WHEN m.traceparent IS NOT NULL THEN true ELSE false END;
