-- title: In the ledger, no edge is earlier than one before it.
-- meaning: An edge went back. Rows are read again, none is lost, but the fence of the watermark was passed.
-- scope: once
SELECT count(*) AS found, min(poller || ' run ' || run_id) AS detail
  FROM (SELECT poller, run_id, edge, max(edge) OVER (PARTITION BY poller ORDER BY term, run_id ROWS UNBOUNDED PRECEDING) AS greatest_edge
          FROM service_ops.poll_run WHERE outcome IN ('ran', 'late', 'backstop') AND edge IS NOT NULL) r
 WHERE edge < greatest_edge
