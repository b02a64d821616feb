-- title: No two instances ever led a task under one term.
-- meaning: Their writes could not be told apart. leader_term was changed by hand, or restored from an old copy.
-- scope: once
SELECT count(*) AS found, min(format('%s term %s: %s', task_name, term, leaders)) AS detail
  FROM (SELECT c.task_name, c.term, string_agg(DISTINCT c.to_instance, ', ') AS leaders
          FROM (SELECT task_name, term, to_instance FROM service_ops.leader_change
                UNION ALL
                SELECT task_name, term, instance_id FROM service_ops.background_task_leader
                UNION ALL
                SELECT poller, term, instance_id FROM service_ops.poll_run WHERE outcome IN ('ran', 'late', 'backstop')) c
         GROUP BY c.task_name, c.term HAVING count(DISTINCT c.to_instance) > 1) t
