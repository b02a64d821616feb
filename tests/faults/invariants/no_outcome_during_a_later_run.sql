-- title: No outcome of an earlier claim ends a message while a later claim's handler is at work.
SELECT count(*) AS found, min(r.source || ' ' || r.message_id) AS detail
  FROM run r JOIN service_ops.integration_inbox i USING (source, message_id)
 WHERE i.status = 'DONE' AND r.ok AND i.processed_at > r.began + interval '50 ms' AND i.processed_at < r.ended - interval '50 ms'
   AND EXISTS (SELECT FROM run e WHERE e.source = r.source AND e.message_id = r.message_id AND e.ok AND e.began < r.began AND e.ended < r.ended)
