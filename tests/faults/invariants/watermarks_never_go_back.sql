-- title: Edge, term and pass never go back.
SELECT count(*) AS found, min(format('%s: edge %s, term %s, pass %s after edge %s, term %s, pass %s', poller, edge, term, pass, edge_before, term_before, pass_before)) AS detail
  FROM (SELECT poller, edge, term, pass, lag(edge) OVER w AS edge_before, lag(term) OVER w AS term_before, lag(pass) OVER w AS pass_before
          FROM seen_watermark WINDOW w AS (PARTITION BY poller ORDER BY seq)) o
 WHERE edge < edge_before OR term < term_before OR pass < pass_before
