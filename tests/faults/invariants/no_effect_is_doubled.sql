-- title: No transactional handler has taken effect twice.
-- counts: doubled
SELECT coalesce(sum(e.n - 1), 0) AS found, min(e.source || ' ' || e.message_id) AS detail
  FROM (SELECT source, message_id, count(*) AS n FROM effect GROUP BY source, message_id) e
 WHERE e.n > 1
