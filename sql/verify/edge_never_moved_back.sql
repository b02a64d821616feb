-- title: In the ledger, no edge is earlier than one before it, but for a reset.
-- meaning: An edge went back. Rows are read again, none is lost, but the fence of the watermark was passed.
-- scope: once
SELECT count(*) AS found, min(poller || ' run ' || run_id) AS detail
  FROM (SELECT e.poller, e.run_id, e.edge,
               max(e.edge) OVER (PARTITION BY e.poller, e.resets ORDER BY e.term, e.run_id ROWS UNBOUNDED PRECEDING) AS greatest_edge
          FROM (SELECT r.*, count(*) FILTER (WHERE r.outcome = 'reset') OVER (PARTITION BY r.poller ORDER BY r.term, r.run_id) AS resets
                  FROM service_ops.poll_run r WHERE r.outcome IN ('ran', 'late', 'backstop', 'reset') AND r.edge IS NOT NULL) e) r
 WHERE edge < greatest_edge
