-- Every task that somebody must lead, and who does; a dash where nobody does.
SELECT t.task_name, coalesce((SELECT l.instance_id FROM service_ops.background_task_leader l
                               WHERE l.task_name = t.task_name AND l.expires_at > clock_timestamp()), '-') AS leader
  FROM service_ops.task_status t WHERE t.led AND NOT t.orphaned ORDER BY t.task_name
