-- title: Attempts are what the handlers' own failures cost, and what deaths did, one each at most.
-- counts: burned
SELECT coalesce(sum(i.attempts - s.failures - 1), 0) AS found,
       min(format('%s %s has %s attempts, expected %s: %s', i.source, i.message_id, i.attempts, s.failures + 1, i.last_error)) AS detail
  FROM service_ops.integration_inbox i JOIN source_row s USING (source, message_id), expectation x
 WHERE s.behave IS DISTINCT FROM 'dead' AND i.attempts <> s.failures + 1
   AND NOT (x.may_burn AND i.attempts BETWEEN s.failures + 1 AND s.failures + 1 + (SELECT count(*) FROM disturbed d WHERE d.died))
