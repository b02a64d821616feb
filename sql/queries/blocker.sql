-- Who is in the way of a session that waits for a lock.

-- name: find
-- $1 application name of those that wait. First whoever is no session of Tidemark, then the oldest transaction: those who
-- are only ahead in the queue wait for it, too. A wait for a row is one for its transaction, which names no table; the
-- place in the row's own queue, held meanwhile, does. A prepared transaction shows as pid 0.
WITH l AS MATERIALIZED (SELECT * FROM pg_catalog.pg_locks),
w AS (
  SELECT l.pid, coalesce(l.relation, (SELECT t.relation FROM l t WHERE t.pid = l.pid AND t.locktype = 'tuple' AND t.granted LIMIT 1)) AS relation
    FROM l
    JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
   WHERE NOT l.granted AND l.pid <> pg_backend_pid() AND a.application_name = $1 AND a.datname = current_database())
SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS "table", b.pid,
       coalesce(nullif(h.application_name, ''), h.backend_type) AS application,
       extract(epoch FROM clock_timestamp() - h.xact_start)::int AS age_s,
       coalesce(h.application_name LIKE 'tidemark:%', false) AS ours,
       v.virtualtransaction AS "transaction"
  FROM w
 CROSS JOIN LATERAL unnest(pg_blocking_pids(w.pid)) b(pid)
  LEFT JOIN pg_catalog.pg_class c ON c.oid = w.relation
  LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_stat_activity h ON h.pid = b.pid
  LEFT JOIN l v ON v.pid = b.pid AND v.locktype = 'virtualxid' AND v.virtualxid = v.virtualtransaction
 ORDER BY ours, age_s DESC NULLS LAST
 LIMIT 1

-- name: is_over
-- $1 transaction, as above. Every transaction holds the lock on its own name until it ends, and every role may see that.
SELECT NOT EXISTS (SELECT FROM pg_catalog.pg_locks l WHERE l.locktype = 'virtualxid' AND l.virtualxid = $1) AS over
