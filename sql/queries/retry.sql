-- name: bring_forward
-- $1 tolerance, $2 rows at most. What waits by a clock that has stepped back since: its row was written in what is the
-- future now. It goes on waiting for as long as it was to wait. A source at a time, by the index of what waits.
WITH r AS MATERIALIZED (
  SELECT w.inbox_id
    FROM service_ops.background_task t
   CROSS JOIN LATERAL (
         SELECT m.inbox_id FROM service_ops.integration_inbox m
          WHERE m.source = t.task_name AND m.next_attempt_at > clock_timestamp() + $1::interval AND m.next_attempt_at < 'infinity'
            AND CASE WHEN m.status IN ('NEW', 'FAILED') AND m.updated_at > clock_timestamp() + $1::interval THEN true ELSE false END
          ORDER BY m.next_attempt_at LIMIT $2::integer FOR UPDATE SKIP LOCKED) w
   WHERE t.kind = 'poller')
UPDATE service_ops.integration_inbox m
   SET next_attempt_at = clock_timestamp() + greatest(m.next_attempt_at - m.updated_at, '0'), updated_at = clock_timestamp()
 WHERE m.inbox_id = ANY (ARRAY(SELECT r.inbox_id FROM r)) AND m.status IN ('NEW', 'FAILED');
