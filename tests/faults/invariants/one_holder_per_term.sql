-- title: A term has one holder.
SELECT count(*) AS found, min(task_name || ' term ' || term) AS detail
  FROM (SELECT task_name, term FROM seen_leader GROUP BY task_name, term HAVING count(*) > 1
        UNION ALL
        SELECT task_name, term FROM service_ops.leader_change GROUP BY task_name, term HAVING count(*) > 1) t
