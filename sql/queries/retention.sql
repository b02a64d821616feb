-- Lock order: integration_poll_watermark, background_task, integration_inbox by id.

-- name: raise
-- $1 poller, $2 retention. The first step: says what may be forgotten from now on. The watermark is locked first, so that
-- a reset cannot move the edge back meanwhile; the task FOR UPDATE, which waits for every page that goes by the old value
-- (they lock it FOR KEY SHARE) and which no ordinary update of the row has to wait for. No row: it is as high already, or
-- there is no watermark.
WITH w AS MATERIALIZED (
  SELECT w.edge FROM service_ops.integration_poll_watermark w WHERE w.poller = $1 FOR SHARE),
t AS MATERIALIZED (
  SELECT t.id, t.forgotten_before FROM service_ops.background_task t
   WHERE t.task_name = $1 AND t.kind = 'poller' AND EXISTS (SELECT FROM w) FOR UPDATE)
UPDATE service_ops.background_task k
   SET forgotten_before = least(w.edge - interval '1 second', now() - $2::interval)
  FROM t CROSS JOIN w
 WHERE k.id = t.id AND least(w.edge - interval '1 second', now() - $2::interval) > coalesce(t.forgotten_before, '-infinity')
RETURNING k.forgotten_before::text AS forgotten_before;

-- name: forget
-- $1 poller, $2 look at the rows above this number, $3 so many of them, $4 retention. The second step, a batch at a time.
-- The newest row of all stays: process/lowWater.ts takes the head from it. Rows without a time are never forgotten, since
-- no time could keep the sweep from taking them in again.
WITH b AS MATERIALIZED (
  SELECT least(t.forgotten_before, w.edge - interval '1 second') AS before
    FROM service_ops.background_task t JOIN service_ops.integration_poll_watermark w ON w.poller = t.task_name
   WHERE t.task_name = $1),
looked AS MATERIALIZED (
  SELECT m.inbox_id, m.created_at,
         m.source = $1 AND m.status = 'DONE' AND m.processed_at < now() - $4::interval
           AND m.source_created_at < (SELECT b.before FROM b) AS is_old
    FROM service_ops.integration_inbox m
   WHERE m.inbox_id > $2::bigint ORDER BY m.inbox_id LIMIT $3::integer),
old AS MATERIALIZED (
  SELECT m.inbox_id FROM service_ops.integration_inbox m
   WHERE m.inbox_id = ANY (ARRAY(SELECT l.inbox_id FROM looked l WHERE l.is_old))
     AND m.status = 'DONE' AND m.processed_at < now() - $4::interval    -- under the lock: somebody may have put it back
     AND m.inbox_id < (SELECT max(n.inbox_id) FROM service_ops.integration_inbox n)
   ORDER BY m.inbox_id FOR UPDATE SKIP LOCKED),
d AS (
  DELETE FROM service_ops.integration_inbox m WHERE m.inbox_id = ANY (ARRAY(SELECT o.inbox_id FROM old o)) RETURNING m.inbox_id)
SELECT (SELECT count(*) FROM d) AS forgotten,
       (SELECT max(l.inbox_id) FROM looked l) AS up_to,
       -- Numbers follow the time of taking in closely: what comes after a row younger than the retention is younger too.
       (SELECT count(*) < $3::integer OR bool_or(l.created_at > now() - $4::interval) FROM looked l) AS is_last;
