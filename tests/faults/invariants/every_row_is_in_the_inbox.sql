-- title: Every committed source row is in the inbox, or was and is forgotten (no_effect_is_missing has those).
-- counts: lost
SELECT count(*) AS found, min(s.source || ' ' || s.message_id) AS detail
  FROM source_row s
 WHERE NOT s.forgotten
   AND NOT EXISTS (SELECT FROM service_ops.integration_inbox i WHERE i.source = s.source AND i.message_id = s.message_id)
