-- name: record
-- $1 poller, $2 due, $3 started, $4 outcome, $5 $6 $7 rows read, inserted, late, $8 edge, $9 term, $10 instance, $11 error.
-- due and started are given as milliseconds ago, so that every time in the ledger is the database's.
INSERT INTO service_ops.poll_run (poller, due_at, started_at, outcome, rows_read, rows_inserted, late_rows, edge, term, instance_id, error)
VALUES ($1, clock_timestamp() - $2::double precision * interval '1 ms', clock_timestamp() - $3::double precision * interval '1 ms',
        $4, $5::bigint, $6::bigint, $7::bigint, $8::timestamptz, $9::bigint, $10, $11);

-- name: forget
-- $1 how long runs are kept, $2 rows at most. The newest run with an edge stays: a re-made watermark goes on from it. In
-- order: a reset goes after the runs before it, whose edges may be later.
DELETE FROM service_ops.poll_run r
 WHERE r.run_id IN (
   SELECT o.run_id FROM service_ops.poll_run o
    WHERE o.started_at < clock_timestamp() - $1::interval
      AND (o.edge IS NULL
           OR EXISTS (SELECT FROM service_ops.poll_run k WHERE k.poller = o.poller AND k.started_at > o.started_at AND k.edge IS NOT NULL))
    ORDER BY o.run_id LIMIT $2::integer);
