-- title: After the last instance left, no lease, claim, session, lock or job is held.
-- settles within: 15 s
SELECT count(*) AS found, min(what) AS detail
  FROM (SELECT 'lease of ' || task_name AS what FROM service_ops.background_task_leader
        UNION ALL
        SELECT 'claim of ' || locked_by FROM service_ops.integration_inbox WHERE status = 'PROCESSING'
        UNION ALL
        SELECT format('session %s (%s): %s', application_name, state, left(query, 60)) FROM pg_stat_activity
         WHERE datname = current_database() AND application_name LIKE 'tidemark:%'
           AND NOT (state = 'idle' AND (SELECT pooled FROM expectation))
        UNION ALL
        SELECT 'advisory lock' FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        UNION ALL
        SELECT 'job of ' || name FROM pgboss.job WHERE state = 'active' AND NOT (SELECT may_burn OR may_lose_answers FROM expectation)) h
