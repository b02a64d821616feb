-- name: lock_registry
-- Held until the end of the transaction: numbers are given one after the other.
LOCK TABLE service_ops.background_task IN SHARE ROW EXCLUSIVE MODE;

-- name: register
-- $1 task, $2 kind, $3 led, $4 interval in seconds, $5 source table, $6 source columns, $7 sources, $8 where a new poller
-- begins (NULL: the beginning), $9 config hash, $10 release, $11 where it delivers to. Keeps the number, the pause and the start of a known task.
-- A poller whose row was lost gets its number back from its watermark, and nobody else gets it meanwhile. What retention
-- had forgotten by then nobody knows any more: all that is proven to have been taken in may be. It is not where the
-- config begins: that may say now, and a watermark that is made again would skip what was written since the loss.
INSERT INTO service_ops.background_task AS t
       (id, task_name, kind, led, interval_seconds, source_table, source_columns, sources, forgotten_before, config_hash, release, delivers_to)
VALUES (coalesce((SELECT w.id FROM service_ops.integration_poll_watermark w
                   WHERE w.poller = $1 AND NOT EXISTS (SELECT FROM service_ops.background_task k WHERE k.id = w.id)),
                 1 + greatest((SELECT max(k.id) FROM service_ops.background_task k),
                              (SELECT max(w.id) FROM service_ops.integration_poll_watermark w), 0)),
        $1, $2, $3::boolean, $4::numeric, $5, $6::jsonb, $7::text[],
        coalesce((SELECT w.edge FROM service_ops.integration_poll_watermark w WHERE w.poller = $1),
                 (SELECT r.edge FROM service_ops.poll_run r WHERE r.poller = $1 AND r.edge IS NOT NULL ORDER BY r.term DESC, r.run_id DESC LIMIT 1), $8::timestamptz),
        $9, $10, $11)
ON CONFLICT (task_name) DO UPDATE
   SET led = EXCLUDED.led, interval_seconds = EXCLUDED.interval_seconds, source_table = EXCLUDED.source_table,
       source_columns = EXCLUDED.source_columns, sources = EXCLUDED.sources, config_hash = EXCLUDED.config_hash,
       release = EXCLUDED.release, delivers_to = EXCLUDED.delivers_to, seen_at = clock_timestamp()
RETURNING t.id, t.paused;

-- name: find
-- $1 task. What is known of it, always one row. A poller has begun when it has a watermark, or an edge in the ledger from
-- which one would be made again, whether or not its own row was lost.
SELECT t.task_name IS NOT NULL AS registered, t.source_table, t.source_columns,
       w.poller IS NOT NULL
         OR EXISTS (SELECT FROM service_ops.poll_run r WHERE r.poller = n.name AND r.edge IS NOT NULL) AS has_begun
  FROM (SELECT $1::text AS name) n
  LEFT JOIN service_ops.background_task t ON t.task_name = n.name
  LEFT JOIN service_ops.integration_poll_watermark w ON w.poller = n.name;
