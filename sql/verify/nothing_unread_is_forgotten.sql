-- title: Nothing counts as forgotten that is not written yet, or not below the edge.
-- meaning: Such rows would never be taken in. The clock stepped back after a start from now, or forgotten_before was changed by hand.
-- scope: once
SELECT count(*) AS found, min(t.task_name || ' before ' || t.forgotten_before) AS detail
  FROM service_ops.background_task t
  LEFT JOIN service_ops.integration_poll_watermark w ON w.poller = t.task_name
 WHERE t.forgotten_before > least(w.edge, clock_timestamp())
