-- title: Nothing is stuck: every message has its end.
SELECT count(*) AS found, min(format('%s %s is %s (attempts %s, interruptions %s, %s)', i.source, i.message_id, i.status, i.attempts, i.interruptions, i.last_error)) AS detail
  FROM service_ops.integration_inbox i JOIN source_row s USING (source, message_id)
 WHERE i.status <> CASE WHEN s.behave = 'dead' THEN 'DEAD' ELSE 'DONE' END
