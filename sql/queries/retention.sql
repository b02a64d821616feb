-- Lock order: integration_poll_watermark, poll_candidate, background_task, integration_inbox by id.

-- name: look
-- $1 poller, $2 look at the messages above this number, $3 so many of them, $4 retention, $5 how long ago a row must have
-- been written besides. Locks nothing. The newest message of all stays: process/lowWater.ts takes the head from it. Messages
-- without a time are never forgotten, since no time could keep the sweep from taking them in again.
WITH looked AS MATERIALIZED (
  SELECT m.inbox_id, m.created_at, m.source_created_at,
         m.source = $1 AND m.source_created_at <= now() AND m.status NOT IN ('DEAD', 'DISCARDED') AS may_be_soon,
         m.source = $1 AND m.status = 'DONE' AND m.processed_at < now() - $4::interval
           AND m.source_created_at < coalesce((SELECT least(least(w.edge, k.scan_from) - interval '1 second', now() - greatest($4::interval, $5::interval))
                                        FROM service_ops.integration_poll_watermark w JOIN service_ops.poll_candidate k ON k.poller = w.poller
                                       WHERE w.poller = $1), '-infinity')
           AND m.inbox_id < (SELECT max(n.inbox_id) FROM service_ops.integration_inbox n) AS is_old
    FROM service_ops.integration_inbox m
   WHERE m.inbox_id > $2::bigint ORDER BY m.inbox_id LIMIT $3::integer)
SELECT coalesce(array_agg(l.inbox_id::text ORDER BY l.inbox_id) FILTER (WHERE l.is_old), '{}') AS old,
       coalesce(max(l.source_created_at) FILTER (WHERE l.is_old) + interval '1 microsecond'
         > coalesce((SELECT t.forgotten_before FROM service_ops.background_task t WHERE t.task_name = $1), '-infinity'), false) AS is_higher,
       max(l.inbox_id) AS up_to,
       min(l.inbox_id) FILTER (WHERE (l.may_be_soon AND NOT l.is_old) OR l.created_at > now() - $4::interval) AS soon,
       -- Numbers follow the time of taking in closely: what comes after a message younger than the retention is younger too.
       -- One from the future is not young: the clock was ahead when it was taken in.
       count(*) < $3::integer OR bool_or(l.created_at > now() - $4::interval AND l.created_at <= now()) AS is_last
  FROM looked l;

-- name: raise
-- $1 poller, $2 messages that are to be forgotten. Says so: the bound goes to just above the newest of them, and no further,
-- so that a clock that was ahead for a moment cannot put it where rows are still to come. The watermark is locked first, so
-- that a reset cannot move the edge back meanwhile, and the candidate with it: after a step of the clock rows are still to
-- come from scan_from on, behind the edge. A lock that an update has to wait for returns what the update before it left,
-- whatever the snapshot; where there is no candidate, no pass has begun since a reset, and nothing is
-- known. The task FOR UPDATE, which no page that goes by the old value can have together with us (they lock it FOR KEY SHARE)
-- and which no ordinary update of the row has to wait for. Where such a page is under way we do not wait, since everybody
-- who wants the watermark would wait for us.
WITH w AS MATERIALIZED (
  SELECT w.edge FROM service_ops.integration_poll_watermark w WHERE w.poller = $1 FOR SHARE),
k AS MATERIALIZED (
  SELECT k.scan_from FROM service_ops.poll_candidate k WHERE k.poller = $1 AND EXISTS (SELECT FROM w) FOR SHARE),
t AS MATERIALIZED (
  SELECT t.id, t.forgotten_before FROM service_ops.background_task t
   WHERE t.task_name = $1 AND t.kind = 'poller' AND EXISTS (SELECT FROM k) FOR UPDATE SKIP LOCKED),
n AS MATERIALIZED (
  SELECT max(m.source_created_at) + interval '1 microsecond' AS above
    FROM service_ops.integration_inbox m CROSS JOIN w CROSS JOIN k
   WHERE m.inbox_id = ANY ($2::bigint[]) AND m.source = $1 AND m.source_created_at < least(w.edge, k.scan_from) - interval '1 second'),
u AS (
  UPDATE service_ops.background_task k
     SET forgotten_before = n.above
    FROM t CROSS JOIN n
   WHERE k.id = t.id AND n.above > coalesce(t.forgotten_before, '-infinity')
  RETURNING k.forgotten_before)
SELECT EXISTS (SELECT FROM t) AS was_free, (SELECT u.forgotten_before::text FROM u) AS forgotten_before;

-- name: forget
-- $1 poller, $2 messages, $3 retention. Deletes those of them that are finished, and below what was said to be forgotten.
WITH b AS MATERIALIZED (
  SELECT least(t.forgotten_before, w.edge - interval '1 second') AS before
    FROM service_ops.background_task t JOIN service_ops.integration_poll_watermark w ON w.poller = t.task_name
   WHERE t.task_name = $1),
old AS MATERIALIZED (
  SELECT m.inbox_id FROM service_ops.integration_inbox m
   WHERE m.inbox_id = ANY ($2::bigint[]) AND m.source = $1 AND m.source_created_at < (SELECT b.before FROM b)
     AND m.status = 'DONE' AND m.processed_at < now() - $3::interval    -- under the lock: somebody may have put it back
     AND m.inbox_id < (SELECT max(n.inbox_id) FROM service_ops.integration_inbox n)
   ORDER BY m.inbox_id FOR UPDATE SKIP LOCKED),
d AS (
  DELETE FROM service_ops.integration_inbox m WHERE m.inbox_id = ANY (ARRAY(SELECT o.inbox_id FROM old o)) RETURNING m.inbox_id, m.claim),
a AS (       -- one that was done by its first claim has none
  DELETE FROM service_ops.message_attempt a WHERE a.inbox_id = ANY (ARRAY(SELECT d.inbox_id FROM d WHERE d.claim > 1)))
SELECT (SELECT count(*) FROM d) AS forgotten,
       (SELECT min(o.id) FROM unnest($2::bigint[]) o(id) WHERE NOT EXISTS (SELECT FROM d WHERE d.inbox_id = o.id)) AS left_over;
