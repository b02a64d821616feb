-- Rows are taken in here without leading and without writing to the watermark: ingest/sweep.ts says why that is safe.
-- Lock order: poll_sweep, background_task, integration_inbox.

-- name: begin
-- $1 poller, $2 its source may have rows without a time. A sweep under way goes on from its position; else a new one begins.
-- Either way who was sweeping is refused from now on. No row: the poller is paused.
INSERT INTO service_ops.poll_sweep AS s (poller, turn, undated, started_at)
SELECT $1::text, 1, $2::boolean, clock_timestamp()
 WHERE NOT EXISTS (SELECT FROM service_ops.background_task t WHERE t.task_name = $1 AND t.paused)
ON CONFLICT (poller) DO UPDATE
   SET turn = s.turn + 1,
       started_at = CASE WHEN s.finished_at IS NULL AND s.started_at IS NOT NULL THEN s.started_at ELSE clock_timestamp() END,
       undated = $2::boolean AND (s.finished_at IS NOT NULL OR s.undated),
       scan_ts = CASE WHEN s.finished_at IS NULL THEN s.scan_ts END,
       scan_id = CASE WHEN s.finished_at IS NULL THEN s.scan_id END,
       looked = CASE WHEN s.finished_at IS NULL THEN s.looked ELSE 0 END,
       found = CASE WHEN s.finished_at IS NULL THEN s.found ELSE 0 END,
       finished_at = NULL
RETURNING s.turn, s.undated;

-- name: ask
-- $1 poller. A sweep is wanted that begins after now.
INSERT INTO service_ops.poll_sweep AS s (poller, asked_at) VALUES ($1, clock_timestamp())
ON CONFLICT (poller) DO UPDATE SET asked_at = EXCLUDED.asked_at;

-- name: asked
-- $1 poller. Whether one was asked for since the newest began.
SELECT coalesce(s.asked_at > s.started_at, false) AS again FROM service_ops.poll_sweep s WHERE s.poller = $1;

-- name: page
-- $1 poller, $2 page size, $3 attempts a message has, $4 why its one row is refused (NULL: it is not), $5 the id of that one
-- row (NULL: a page like any other), $6 turn. No row: somebody else sweeps, the poller is paused, has no watermark or is not
-- known, so that nobody can say what is below its edge or forgotten.
WITH s AS (
  SELECT s.* FROM service_ops.poll_sweep s WHERE s.poller = $1 AND s.turn = $6::bigint AND s.finished_at IS NULL FOR UPDATE),
k AS MATERIALIZED (
  SELECT t.task_name FROM service_ops.background_task t WHERE t.task_name = $1 AND NOT t.paused AND EXISTS (SELECT FROM s) FOR KEY SHARE),
f AS MATERIALIZED (SELECT service_ops.forgotten_before(k.task_name) AS at FROM k),
me AS MATERIALIZED (
  SELECT s.scan_ts, s.scan_id, coalesce(f.at, '-infinity') AS low, w.edge AS high
    FROM s CROSS JOIN f JOIN service_ops.integration_poll_watermark w ON w.poller = s.poller),
:"take_in"
UPDATE service_ops.poll_sweep w
   SET turn = w.turn + 1,
       undated = w.undated AND NOT n.is_last,
       scan_ts = CASE WHEN NOT n.is_last THEN coalesce(last.created_at, w.scan_ts) END,
       scan_id = CASE WHEN NOT n.is_last THEN coalesce(last.id::text, w.scan_id) END,
       finished_at = CASE WHEN n.is_last AND NOT w.undated THEN clock_timestamp() END,
       swept_at = CASE WHEN n.is_last AND NOT w.undated THEN w.started_at ELSE w.swept_at END,
       looked = w.looked + n.n,
       found = w.found + i.inserted,
       found_total = w.found_total + i.inserted
  FROM s CROSS JOIN n CROSS JOIN i LEFT JOIN me ON true LEFT JOIN last ON true
 WHERE w.poller = s.poller AND me.high IS NOT NULL
RETURNING w.turn, w.undated, w.finished_at IS NULL AS more, n.n, i.inserted, i.oldest::text AS oldest, i.example, w.looked, w.found,
          extract(epoch FROM clock_timestamp() - w.started_at) * 1000 AS since_ms,
          me.low::text AS low, me.high::text AS high;

-- name: next_id
-- $1 poller, $2 turn. Which row the next page begins with.
WITH me AS (
  SELECT s.scan_ts, s.scan_id, coalesce(t.forgotten_before, '-infinity') AS low, w.edge AS high
    FROM service_ops.poll_sweep s
    JOIN service_ops.background_task t ON t.task_name = s.poller
    JOIN service_ops.integration_poll_watermark w ON w.poller = s.poller
   WHERE s.poller = $1 AND s.turn = $2::bigint AND s.finished_at IS NULL)
SELECT tidemark_source.:"id"::text AS id
  FROM :"source" tidemark_source
 WHERE :"keyset"
   AND tidemark_source.:"id" IS NOT NULL
 ORDER BY tidemark_source.:"created_at", tidemark_source.:"id" LIMIT 1;
