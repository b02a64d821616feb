-- title: Every row has had its effect.
-- counts: lost
SELECT count(*) AS found, min(s.source || ' ' || s.message_id) AS detail
  FROM source_row s
 WHERE s.behave IS DISTINCT FROM 'dead'
   AND NOT EXISTS (SELECT FROM effect e WHERE e.source = s.source AND e.message_id = s.message_id)
   AND NOT EXISTS (SELECT FROM run r WHERE s.outside AND r.source = s.source AND r.message_id = s.message_id AND r.ok)
