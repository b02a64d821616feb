-- What the dashboard shows of pg-boss's jobs. Tied to the pinned version as boss.sql is; a test runs them on it.

-- name: jobs
-- $1 runs shown of each. One row a job that any instance was ever configured with: its schedule, what is queued, in work and
-- failed, and its newest runs. Counts are of what is alive, by its index; what is finished is not counted, since it may be much.
SELECT coalesce(jsonb_agg(jsonb_build_object(
         'job', t.task_name, 'paused', t.paused, 'paused_by', t.paused_by, 'orphaned', t.orphaned, 'instances', t.instances,
         'schedule', s.cron, 'timezone', s.timezone, 'next_at', n.start_after, 'queued', coalesce(n.queued, 0), 'active', coalesce(n.active, 0),
         'retrying', coalesce(n.retrying, 0), 'runs', r.runs) ORDER BY t.task_name), '[]') AS jobs
  FROM service_ops.task_status t
  LEFT JOIN LATERAL (
       SELECT string_agg(c.cron, '; ' ORDER BY c.key) AS cron, min(c.timezone) AS timezone FROM pgboss.schedule c WHERE c.name = 'job.' || t.task_name) s ON true
  LEFT JOIN LATERAL (
       SELECT count(*) FILTER (WHERE l.state = 'created') AS queued, count(*) FILTER (WHERE l.state = 'active') AS active,
              count(*) FILTER (WHERE l.state = 'retry') AS retrying, min(l.start_after) FILTER (WHERE l.state < 'active') AS start_after
         FROM (SELECT j.state, j.start_after FROM pgboss.job j WHERE j.name = 'job.' || t.task_name AND j.state <= 'active' LIMIT 10000) l) n ON true
 CROSS JOIN LATERAL (
       SELECT coalesce(jsonb_agg(to_jsonb(f) ORDER BY f.completed_on DESC), '[]') AS runs
         FROM (SELECT j.id, j.state, j.retry_count, j.started_on, j.completed_on,
                      round(extract(epoch FROM j.completed_on - j.started_on)::numeric * 1000) AS took_ms,
                      CASE WHEN j.state = 'failed' THEN left(coalesce(j.output ->> 'message', j.output::text), 300) END AS error
                 FROM pgboss.job j
                WHERE j.name = 'job.' || t.task_name AND j.completed_on IS NOT NULL
                ORDER BY j.completed_on DESC LIMIT $1::integer) f) r
 WHERE t.kind = 'job';

-- name: dead
-- $1 at most. Jobs that failed for good, the newest first; they can be sent again.
SELECT coalesce(jsonb_agg(to_jsonb(f) ORDER BY f.created_on DESC), '[]') AS dead
  FROM (SELECT j.id, j.source_name, j.created_on, j.source_retry_count,
               left(coalesce(j.source_output ->> 'message', j.source_output::text), 300) AS error
          FROM pgboss.job j WHERE j.name = 'jobs.dead' AND j.state = 'created'
         ORDER BY j.created_on DESC LIMIT $1::integer) f;
