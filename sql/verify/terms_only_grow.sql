-- title: Each change of leadership has a higher term than the one before it.
-- meaning: Two leaderships had the same term, or an older one; writes of both may have been accepted.
-- scope: once
SELECT count(*) AS found, min(task_name || ' term ' || term) AS detail
  FROM (SELECT task_name, term, lag(term) OVER (PARTITION BY task_name ORDER BY change_id) AS earlier_term FROM service_ops.leader_change) c
 WHERE term <= earlier_term
