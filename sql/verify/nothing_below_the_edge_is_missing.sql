-- title: Every source row older than the edge is in the inbox.
-- meaning: A row was skipped. Keep its id, and run tidemark verify again after the next pass before anything else.
-- scope: poller
SELECT count(*) AS found, min(s.%3$s::text) AS detail
  FROM %2$s s
 WHERE %4$s < (SELECT w.edge FROM service_ops.integration_poll_watermark w WHERE w.poller = %1$s)
   AND %4$s >= coalesce((SELECT t.forgotten_before FROM service_ops.background_task t WHERE t.task_name = %1$s), '-infinity')
   AND (%5$s)
   AND NOT EXISTS (SELECT FROM service_ops.integration_inbox i WHERE i.source = %1$s AND i.message_id =
                   CASE WHEN octet_length(s.%3$s::text) > 2600 THEN left(s.%3$s::text, 64) || '…' || md5(s.%3$s::text) ELSE s.%3$s::text END)
