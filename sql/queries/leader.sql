-- Lock order everywhere: leader_term, background_task_leader, integration_poll_watermark, integration_inbox by id.

-- name: look
-- $1 tasks, $2 lease. What a stand-by needs to know, for all its tasks in one query: who leads, whether the lease is
-- over (or so far ahead that the clock must have stepped back), and whether the leader's sentinel is free.
WITH held AS MATERIALIZED (
  SELECT coalesce(array_agg((l.classid::bigint << 32) | l.objid::bigint), '{}') AS keys
    FROM pg_catalog.pg_locks l
   WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted
     AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database()))
SELECT t.task_name,
       b.holder,
       b.instance_id,
       b.term,
       b.expires_at IS NULL OR b.expires_at < clock_timestamp() OR b.expires_at > clock_timestamp() + 2 * $2::interval AS is_free,
       coalesce(i.sentinel AND NOT hashtextextended('tidemark:sentinel:' || b.holder, 0) = ANY (held.keys), false) AS sentinel_free,
       k.paused, k.source_table, k.source_columns
  FROM unnest($1::text[]) t(task_name)
 CROSS JOIN held
  LEFT JOIN service_ops.background_task k USING (task_name)
  LEFT JOIN service_ops.background_task_leader b USING (task_name)
  LEFT JOIN service_ops.runner_instance i ON i.holder = b.holder;

-- name: take_over
-- $1 task, $2 holder, $3 instance, $4 lease, $5 $6 holder and term judged dead (NULL: nobody), $7 lowest pass.
-- Drawing the term locks its row and so serialises electors. A row that was lost goes on above the newest term that
-- anything else remembers: from 1 its writes would be those of leaders long gone, and the ledger would run backward. CASE:
-- max over the ledger walks all runs of the poller, which an election with its row at hand must not wait for. Two electors
-- that both find none are told apart by the conflict. A re-made watermark goes on from the last edge in the ledger, never
-- below what is forgotten; CASE, for the same reason (500 ms in a ledger of 8 days at a pass a second). A processor has none.
WITH n AS (
  INSERT INTO service_ops.leader_term AS t (task_name, term)
  VALUES ($1, CASE WHEN EXISTS (SELECT FROM service_ops.leader_term k WHERE k.task_name = $1) THEN 1
                   ELSE 1 + greatest((SELECT b.term FROM service_ops.background_task_leader b WHERE b.task_name = $1),
                                     (SELECT w.term FROM service_ops.integration_poll_watermark w WHERE w.poller = $1),
                                     (SELECT max(x.term) FROM service_ops.leader_change x WHERE x.task_name = $1),
                                     (SELECT max(r.term) FROM service_ops.poll_run r WHERE r.poller = $1), 0) END)
  ON CONFLICT (task_name) DO UPDATE SET term = t.term + 1
  RETURNING t.term, t.released_term, t.released_from, t.released_at),
l AS (
  INSERT INTO service_ops.background_task_leader AS b (task_name, holder, instance_id, term, acquired_at, renewed_at, expires_at)
  SELECT $1, $2::uuid, $3, n.term, clock_timestamp(), clock_timestamp(), clock_timestamp() + $4::interval FROM n
  ON CONFLICT (task_name) DO UPDATE
     SET holder = EXCLUDED.holder, instance_id = EXCLUDED.instance_id, term = EXCLUDED.term, acquired_at = clock_timestamp(),
         renewed_at = clock_timestamp(), expires_at = clock_timestamp() + $4::interval,
         previous_instance_id = b.instance_id, previous_renewed_at = b.renewed_at
   WHERE b.expires_at < clock_timestamp() OR b.expires_at > clock_timestamp() + 2 * $4::interval
      OR (b.holder = $5::uuid AND b.term = $6::bigint)
  RETURNING b.term, b.previous_instance_id, b.previous_renewed_at),
w AS (
  INSERT INTO service_ops.integration_poll_watermark AS w (id, poller, holder, term, pass, edge)
  SELECT t.id, $1, $2::uuid, l.term, $7::bigint,
         greatest(CASE WHEN EXISTS (SELECT FROM service_ops.integration_poll_watermark k WHERE k.poller = $1) THEN NULL
                       ELSE (SELECT r.edge FROM service_ops.poll_run r WHERE r.poller = $1 AND r.edge IS NOT NULL ORDER BY r.term DESC, r.run_id DESC LIMIT 1) END,
                  t.forgotten_before, '-infinity')
    FROM l, service_ops.background_task t WHERE t.task_name = $1 AND t.kind = 'poller'
  ON CONFLICT (poller) DO UPDATE
     SET holder = EXCLUDED.holder, term = EXCLUDED.term, pass = greatest(w.pass + 1, EXCLUDED.pass), scan_ts = NULL,
         proven = NULL, updated_at = clock_timestamp()
  RETURNING w.pass, w.edge, xmax = 0 AS created),
h AS (               -- the hand-over that this answers; the terms in between were drawn by electors that lost
  SELECT n.released_from, n.released_at FROM n
   WHERE n.released_at > clock_timestamp() - $4::interval
     AND NOT EXISTS (SELECT FROM service_ops.leader_change x WHERE x.task_name = $1 AND x.term > n.released_term)),
c AS (
  INSERT INTO service_ops.leader_change (task_name, from_instance, to_instance, term, reason, gap_ms)
  SELECT $1, f.from_instance, $3, l.term, f.reason, extract(epoch FROM clock_timestamp() - f.since) * 1000
    FROM l LEFT JOIN h ON true, LATERAL (
      SELECT CASE WHEN l.previous_instance_id IS NOT NULL THEN 'took_over'
                  WHEN h.released_at IS NOT NULL THEN 'handed_over' ELSE 'elected' END AS reason,
             coalesce(l.previous_instance_id, h.released_from) AS from_instance,
             CASE WHEN l.previous_instance_id IS NOT NULL THEN l.previous_renewed_at ELSE h.released_at END AS since) f
  RETURNING reason, from_instance, gap_ms)
SELECT l.term, c.reason, c.from_instance, c.gap_ms, w.pass, w.edge::text AS edge, w.created FROM l CROSS JOIN c LEFT JOIN w ON true;

-- name: renew
-- $1 tasks, $2 terms, $3 holder, $4 lease. Holder and term alone decide: a lease that ran out and was not taken is still ours.
-- A row that somebody else has locked must not cost the other leases: it is skipped, and ours as far as can be seen.
WITH ours AS MATERIALIZED (
  SELECT b.task_name FROM service_ops.background_task_leader b
    JOIN unnest($1::text[], $2::bigint[]) AS mine(task_name, term) ON b.task_name = mine.task_name AND b.term = mine.term
   WHERE b.holder = $3::uuid),
free AS MATERIALIZED (
  SELECT b.task_name FROM service_ops.background_task_leader b
    JOIN unnest($1::text[], $2::bigint[]) AS mine(task_name, term) ON b.task_name = mine.task_name AND b.term = mine.term
   WHERE b.holder = $3::uuid
     FOR UPDATE OF b SKIP LOCKED),
renewed AS (
  UPDATE service_ops.background_task_leader b
     SET renewed_at = clock_timestamp(), expires_at = clock_timestamp() + $4::interval
    FROM free WHERE b.task_name = free.task_name
  RETURNING b.task_name)
SELECT ours.task_name, CASE WHEN renewed.task_name IS NULL THEN 'locked' ELSE 'renewed' END AS state
  FROM ours LEFT JOIN renewed USING (task_name);

-- name: release
-- $1 task, $2 holder, $3 term, $4 instance. Ends the lease and tells the stand-bys in the same transaction.
WITH t AS (
  UPDATE service_ops.leader_term t SET released_term = $3::bigint, released_from = $4, released_at = clock_timestamp()
   WHERE t.task_name = $1
     AND EXISTS (SELECT FROM service_ops.background_task_leader b WHERE b.task_name = $1 AND b.holder = $2::uuid AND b.term = $3::bigint)
  RETURNING t.task_name),
d AS (
  DELETE FROM service_ops.background_task_leader b USING t
   WHERE b.task_name = t.task_name AND b.holder = $2::uuid AND b.term = $3::bigint
  RETURNING b.task_name)
SELECT d.task_name, pg_notify('tidemark_leader', d.task_name) FROM d;

-- name: take_sentinel
-- $1 holder. A session lock: PostgreSQL frees it when the process or its connection dies.
SELECT pg_try_advisory_lock(hashtextextended('tidemark:sentinel:' || $1::uuid, 0)) AS taken, pg_backend_pid() AS pid;

-- name: end_former_sentinel
-- $1 holder. Ends the session of this very process that still has its lock: the connection was lost without a word, and
-- the server, or a proxy on the way, would keep it for hours, held for a process that may die meanwhile.
SELECT count(pg_terminate_backend(a.pid)) AS ended
  FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
 WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted AND a.datname = current_database() AND a.usename = current_user
   AND (l.classid::bigint << 32) | l.objid::bigint = hashtextextended('tidemark:sentinel:' || $1::uuid, 0)
   AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database()) AND a.pid <> pg_backend_pid();
