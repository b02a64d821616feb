-- title: No external handler that ran to its end has run again, but for what met a death or a lost connection.
-- counts: doubled
SELECT coalesce(sum(r.n - 1), 0) AS found, min(r.source || ' ' || r.message_id) AS detail
  FROM (SELECT source, message_id, count(*) AS n FROM run WHERE ok GROUP BY source, message_id) r, expectation x
 WHERE r.n > 1 AND NOT x.may_run_again
