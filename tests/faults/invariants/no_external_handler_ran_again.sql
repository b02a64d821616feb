-- title: No external handler that ran to its end has run again, but after a run of a process that was killed or frozen, or where the fault says why.
-- counts: doubled
SELECT coalesce(sum(r.n - 1), 0) AS found, min(r.source || ' ' || r.message_id) AS detail
  FROM (SELECT source, message_id, count(*) AS n, bool_or(pid IN (SELECT d.pid FROM disturbed d)) AS explained
          FROM run WHERE ok GROUP BY source, message_id) r, expectation x
 WHERE r.n > 1 AND NOT (x.may_run_again AND (r.explained OR NOT EXISTS (SELECT FROM disturbed)))
