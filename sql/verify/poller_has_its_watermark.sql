-- title: Every poller with a leader has its watermark row, under its own number.
-- meaning: The row is missing or has another number; the leader makes it again at its next pass.
-- scope: once
SELECT count(*) AS found, min(t.task_name) AS detail
  FROM service_ops.background_task t
  JOIN service_ops.background_task_leader l ON l.task_name = t.task_name AND l.expires_at > clock_timestamp()
  LEFT JOIN service_ops.integration_poll_watermark w ON w.poller = t.task_name
 WHERE t.kind = 'poller' AND (w.id IS NULL OR w.id <> t.id)
