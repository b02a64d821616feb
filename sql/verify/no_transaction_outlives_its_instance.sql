-- title: No transaction is open that an instance left behind.
-- meaning: A session of an instance that stopped or died holds its locks, and keeps the edge from moving. End it: SELECT pg_terminate_backend(pid).
-- scope: once
SELECT count(*) AS found, min(format('pid %s of %s, open since %s', a.pid, i.instance_id, a.xact_start)) AS detail
  FROM pg_catalog.pg_stat_activity a
  JOIN service_ops.runner_instance i ON a.application_name = 'tidemark:' || i.instance_id
 WHERE a.datname = current_database()
   AND a.xact_start < clock_timestamp() - interval '60 seconds'
   AND (i.state = 'stopped' OR i.last_seen_at < clock_timestamp() - interval '60 seconds')
