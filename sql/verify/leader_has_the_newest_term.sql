-- title: Every leader holds a term that was drawn for it, and no watermark has a later one.
-- meaning: A leader row or a watermark was changed by hand, or leader_term was restored from an old copy.
-- scope: once
SELECT count(*) AS found, min(task_name) AS detail
  FROM (SELECT l.task_name FROM service_ops.background_task_leader l LEFT JOIN service_ops.leader_term t USING (task_name)
         WHERE t.term IS NULL OR l.term > t.term
         UNION ALL
        SELECT w.poller FROM service_ops.integration_poll_watermark w LEFT JOIN service_ops.leader_term t ON t.task_name = w.poller
         WHERE t.term IS NULL OR w.term > t.term) bad
