-- A new start for a poller, in one transaction of these statements in this order, after lock_registry of task.sql. Lock order
-- as everywhere: leader_term, background_task_leader, integration_poll_watermark, poll_sweep, background_task.

-- name: draw_term
-- $1 poller. A term that nobody leads under: whoever led is refused by it, and what it still writes into the ledger stands
-- before the reset there. CASE as in take_over.
INSERT INTO service_ops.leader_term AS t (task_name, term)
VALUES ($1, CASE WHEN EXISTS (SELECT FROM service_ops.leader_term k WHERE k.task_name = $1) THEN 1
                 ELSE 1 + greatest((SELECT b.term FROM service_ops.background_task_leader b WHERE b.task_name = $1),
                                   (SELECT w.term FROM service_ops.integration_poll_watermark w WHERE w.poller = $1),
                                   (SELECT max(x.term) FROM service_ops.leader_change x WHERE x.task_name = $1),
                                   (SELECT max(r.term) FROM service_ops.poll_run r WHERE r.poller = $1), 0) END)
ON CONFLICT (task_name) DO UPDATE SET term = t.term + 1
RETURNING t.term;

-- name: end_lease
-- $1 poller. Who leads it until now, if the lease is not over.
DELETE FROM service_ops.background_task_leader b WHERE b.task_name = $1
RETURNING CASE WHEN b.expires_at > clock_timestamp() THEN b.instance_id END AS leader;

-- name: lock_watermark
-- $1 poller. Waits for the page under way.
SELECT FROM service_ops.integration_poll_watermark w WHERE w.poller = $1 FOR UPDATE;

-- name: lock_sweep
-- $1 poller. Waits for the page of a sweep under way. The row is made where there is none: a sweep that made it after this
-- would have it while it waits for the task, which the reset has, and the reset would wait for the row.
INSERT INTO service_ops.poll_sweep AS s (poller) VALUES ($1)
ON CONFLICT (poller) DO UPDATE SET turn = s.turn + 1;

-- name: lock_task
-- $1 poller. Waits for every statement that takes rows in by the present bound: they have the task FOR KEY SHARE, which the
-- update below alone would not conflict with.
SELECT FROM service_ops.background_task t WHERE t.task_name = $1 FOR UPDATE;

-- name: look
-- $1 poller, $2 new start. Where it is, and where it would be. No row: no such poller.
SELECT t.source_table, t.source_columns, w.edge::text AS edge, t.forgotten_before::text AS forgotten_before,
       $2::timestamptz > clock_timestamp() AS is_future,
       greatest($2::timestamptz, t.forgotten_before)::text AS new_edge,
       coalesce($2::timestamptz < t.forgotten_before, false) AS is_forgotten,
       greatest($2::timestamptz, t.forgotten_before) > coalesce(w.edge, '-infinity') AS is_ahead
  FROM service_ops.background_task t
  LEFT JOIN LATERAL (      -- without a watermark it would go on from the last edge of the ledger
       SELECT coalesce((SELECT w.edge FROM service_ops.integration_poll_watermark w WHERE w.poller = $1),
                       (SELECT r.edge FROM service_ops.poll_run r WHERE r.poller = $1 AND r.edge IS NOT NULL ORDER BY r.term DESC, r.run_id DESC LIMIT 1)) AS edge) w ON true
 WHERE t.task_name = $1 AND t.kind = 'poller';

-- name: apply
-- $1 poller, $2 term, $3 new start, $4 source table, $5 source columns, $6 the source is another one. What the new start
-- leaves behind is forgotten: the sweep, which goes down to there, would take it in. With another source the greatest cursor
-- means nothing. pass is raised and the candidate dropped, so that nothing proven or read before has a say.
WITH t AS (
  UPDATE service_ops.background_task t
     SET source_table = $4, source_columns = $5::jsonb,
         forgotten_before = CASE WHEN $6::boolean OR $3::timestamptz > w.edge THEN greatest(t.forgotten_before, $3::timestamptz)
                                 ELSE t.forgotten_before END
    FROM (SELECT coalesce((SELECT w.edge FROM service_ops.integration_poll_watermark w WHERE w.poller = $1),
                          (SELECT r.edge FROM service_ops.poll_run r WHERE r.poller = $1 AND r.edge IS NOT NULL ORDER BY r.term DESC, r.run_id DESC LIMIT 1),
                          '-infinity') AS edge) w      -- the same edge as in the look
   WHERE t.task_name = $1
  RETURNING t.id, greatest($3::timestamptz, t.forgotten_before, '-infinity') AS edge),
w AS (
  INSERT INTO service_ops.integration_poll_watermark AS w (id, poller, holder, term, pass, edge)
  SELECT t.id, $1, gen_random_uuid(), $2::bigint, 1, t.edge FROM t
  ON CONFLICT (poller) DO UPDATE
     SET holder = EXCLUDED.holder, term = EXCLUDED.term, pass = w.pass + 1, edge = EXCLUDED.edge,
         scan_ts = NULL, scan_id = NULL, proven = NULL, updated_at = clock_timestamp(),
         last_created_at = CASE WHEN NOT $6::boolean THEN w.last_created_at END,
         last_message_id = CASE WHEN NOT $6::boolean THEN w.last_message_id END
  RETURNING w.edge),
c AS (
  DELETE FROM service_ops.poll_candidate c WHERE c.poller = $1),
s AS (
  UPDATE service_ops.poll_sweep s
     SET turn = s.turn + 1, scan_ts = NULL, scan_id = NULL, started_at = coalesce(s.started_at, clock_timestamp()),
         finished_at = coalesce(s.finished_at, clock_timestamp()), asked_at = clock_timestamp()
   WHERE s.poller = $1),
r AS (
  INSERT INTO service_ops.poll_run (poller, due_at, started_at, outcome, edge, term, instance_id)
  SELECT $1, clock_timestamp(), clock_timestamp(), 'reset', w.edge, $2::bigint, 'tidemark reset' FROM w)
SELECT w.edge::text AS edge,
       pg_notify('tidemark_leader', $1),      -- whoever can lead it
       pg_notify('tidemark_poll', $1)         -- whoever refused it until now, since its source had changed
  FROM w;
