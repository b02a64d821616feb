-- The tail of a source: what lies behind the greatest cursor, read the moment that an insert is announced.

-- name: tail
-- $1 poller, $2 holder, $3 attempts a message has, $4 and $5 NULL, $6 term, $7 pass. Takes rows in and proves nothing: edge,
-- proven, candidate and scan stay as they are, so pass does, too. It is refused as a page is, and a pass follows, whatever
-- it finds: rows behind the cursor, of transactions that took longer than this overlap, are that pass's. One statement with
-- half the work of a begin and a page. It waits for the disk, as the claim that follows does not: were both lost with a crash
-- of the server, the number of the message would be given again, and the outcome of the one would fit the other.
-- A cursor from the future (one row of 2099) must not pin it: hence now(). Where messages have an order, those that a pass
-- would bring first must not come second: nothing is read.
WITH w AS MATERIALIZED (
  SELECT w.poller, w.edge, w.last_created_at, w.last_message_id
    FROM service_ops.integration_poll_watermark w
   WHERE w.poller = $1 AND w.holder = $2::uuid AND w.term = $6::bigint AND w.pass = $7::bigint FOR UPDATE),
k AS MATERIALIZED (     -- as in the page of a pass
  SELECT t.task_name FROM service_ops.background_task t WHERE t.task_name = $1 AND EXISTS (SELECT FROM w) FOR KEY SHARE),
f AS MATERIALIZED (SELECT service_ops.forgotten_before(k.task_name) AS at FROM k),
me AS MATERIALIZED (
  SELECT greatest(w.edge, (SELECT f.at FROM f)) AS low, timestamptz 'infinity' AS high,
         c.cursor AS scan_ts, CASE WHEN c.cursor = w.last_created_at THEN w.last_message_id END AS scan_id
    FROM w CROSS JOIN LATERAL (SELECT least(coalesce(w.last_created_at, w.edge), now() - interval '100 ms') AS cursor) c
   WHERE NOT EXISTS (SELECT FROM service_ops.slot_limit l WHERE l.source = $1 AND l.group_key = '*' AND l.ordered)),
:"take_in",
late AS (SELECT count(*) AS n FROM ins WHERE ins.source_created_at < (SELECT w.last_created_at FROM w)),
top AS (SELECT p.created_at, p.id FROM page p WHERE p.is_wanted ORDER BY p.created_at DESC, p.id DESC LIMIT 1)
UPDATE service_ops.integration_poll_watermark t
   SET last_created_at = CASE WHEN ahead.it_is THEN top.created_at ELSE t.last_created_at END,
       last_message_id = CASE WHEN ahead.it_is THEN top.id::text ELSE t.last_message_id END,
       rows_total = t.rows_total + i.inserted,
       late_rows_total = t.late_rows_total + late.n,
       updated_at = clock_timestamp()
  FROM w CROSS JOIN n CROSS JOIN i CROSS JOIN late CROSS JOIN top
 CROSS JOIN LATERAL (
       SELECT w.last_created_at IS NULL OR top.created_at > w.last_created_at
              OR (top.created_at = w.last_created_at AND top.id > CAST(w.last_message_id AS :"id_type")) AS it_is) ahead
 WHERE t.poller = w.poller AND i.inserted > 0
RETURNING n.n, i.inserted, late.n AS late;
