-- title: Nothing is in the inbox that was rolled back.
SELECT count(*) AS found, min(i.source || ' ' || i.message_id) AS detail
  FROM service_ops.integration_inbox i
 WHERE NOT EXISTS (SELECT FROM source_row s WHERE s.source = i.source AND s.message_id = i.message_id)
