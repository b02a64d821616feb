-- Our own statements on pg-boss's tables, and the two looks at Tidemark's that a request for a pass takes.
-- They are tied to the pinned pg-boss (12.38.0, schema 46): tests/jobs/pinned.test.ts says what they rely on.
-- Time is pgboss.job_now(), so that a test clock moves them too.

-- name: schema_version
-- The version of pg-boss's schema; no row when it was never installed (the table itself may be missing).
SELECT version::int AS version FROM pgboss.version

-- name: schema_is_there
SELECT to_regnamespace('pgboss') IS NOT NULL AS there

-- name: may_maintain
-- Whether this role may make a table of pg-boss's and rebuild its indexes, as only their owner may. No row: not installed.
SELECT has_schema_privilege(n.oid, 'CREATE') AND pg_has_role(c.relowner, 'USAGE') AS may
  FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid
 WHERE n.nspname = 'pgboss' AND c.relname = 'queue_stats'

-- name: give_back
-- Gives a fetched job back to whoever fetches next. $1 queue, $2 id, $3 retry_count as it was fetched.
-- retry_count is left alone and started_on too, so the next fetch raises it: the number that fences the attempt
-- is never used twice (pg-boss's own restore() clears started_on, and a late complete() of the old attempt then
-- settles the new one). The limit rises with it, so no retry is burned.
-- 'created', never 'retry': 'stately' lets one of each be queued. When one is queued already, that one will do.
UPDATE pgboss.job AS j
SET state = CASE WHEN queued.already THEN 'cancelled' ELSE 'created' END::pgboss.job_state,
    completed_on = CASE WHEN queued.already THEN pgboss.job_now() END,
    retry_limit = j.retry_limit + 1,
    heartbeat_on = NULL
FROM (
  SELECT EXISTS (
    SELECT FROM pgboss.job AS a
    JOIN pgboss.job AS q ON q.name = a.name AND q.state < 'active' AND q.policy = 'stately'
      AND coalesce(q.singleton_key, '') = coalesce(a.singleton_key, '')
    WHERE a.name = $1 AND a.id = $2
  ) AS already
) AS queued
WHERE j.name = $1 AND j.id = $2 AND j.state = 'active' AND j.retry_count = $3
RETURNING j.state::text AS state

-- name: unfinished
-- What is queued or active in a queue, and the database's time. Always one row at least; id is NULL when empty.
SELECT pgboss.job_now() AS now, j.id, j.state::text AS state, j.retry_count AS "retryCount", j.start_after AS "startAfter"
FROM (SELECT) AS one
LEFT JOIN pgboss.job AS j ON j.name = $1 AND j.state <= 'active'

-- name: bring_forward
-- $1 queue, $2 key (NULL: whichever), $3 a time (NULL: now). Makes the queued job due then, if it is not earlier; no row
-- when none is queued.
UPDATE pgboss.job
SET start_after = least(start_after, coalesce($3::timestamptz, pgboss.job_now()))
WHERE name = $1 AND state < 'active' AND ($2::text IS NULL OR singleton_key = $2)
RETURNING id

-- name: forget_schedules
-- $1 queues of the jobs in this instance's config. Deletes the schedules of jobs that neither it nor the config of any other
-- instance that lives has: one enters its tasks before it makes a schedule.
DELETE FROM pgboss.schedule AS s
WHERE s.name LIKE 'job.%' AND s.name <> ALL ($1::text[])
  AND NOT EXISTS (SELECT FROM service_ops.runner_instance AS i
                  WHERE i.state <> 'stopped' AND substr(s.name, 5) = ANY (i.tasks))
RETURNING s.name

-- name: poller_known
-- Whether any instance has ever been configured with this poller, whether it is paused and by whom, and the database's
-- time, to the microsecond. Always one row.
SELECT t.task_name IS NOT NULL AS known, coalesce(t.paused, false) AS paused, t.paused_by, clock_timestamp()::text AS now
FROM (SELECT) AS one
LEFT JOIN service_ops.background_task AS t ON t.task_name = $1 AND t.kind = 'poller'

-- name: wake_leader
-- The leader looks at once; pollers under 10 s have no queue and hear only this.
SELECT pg_notify('tidemark_poll', $1)

-- name: pass_since
-- The first pass of a poller that began at or after a time and came to an end of its own.
SELECT outcome, rows_read AS "rowsRead", rows_inserted AS "rowsInserted", late_rows AS "lateRows", error
FROM service_ops.poll_run
WHERE poller = $1 AND started_at >= $2::timestamptz AND outcome IN ('ran', 'late', 'backstop', 'failed')
ORDER BY started_at
LIMIT 1
