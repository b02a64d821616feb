-- title: Every committed source row is in the inbox.
-- counts: lost
SELECT count(*) AS found, min(s.source || ' ' || s.message_id) AS detail
  FROM source_row s
 WHERE NOT EXISTS (SELECT FROM service_ops.integration_inbox i WHERE i.source = s.source AND i.message_id = s.message_id)
