-- name: lock_registry
-- Held until the end of the transaction: numbers are given one after the other.
LOCK TABLE service_ops.background_task IN SHARE ROW EXCLUSIVE MODE;

-- name: register
-- $1 task, $2 kind, $3 led, $4 interval in seconds, $5 source table, $6 source columns, $7 sources, $8 where a new poller
-- begins (NULL: the beginning), $9 config hash, $10 release. Keeps the number, the pause and the start of a known task.
INSERT INTO service_ops.background_task AS t
       (id, task_name, kind, led, interval_seconds, source_table, source_columns, sources, forgotten_before, config_hash, release)
VALUES ((SELECT coalesce(max(k.id), 0) + 1 FROM service_ops.background_task k),
        $1, $2, $3::boolean, $4::numeric, $5, $6::jsonb, $7::text[], $8::timestamptz, $9, $10)
ON CONFLICT (task_name) DO UPDATE
   SET led = EXCLUDED.led, interval_seconds = EXCLUDED.interval_seconds, source_table = EXCLUDED.source_table,
       source_columns = EXCLUDED.source_columns, sources = EXCLUDED.sources, config_hash = EXCLUDED.config_hash,
       release = EXCLUDED.release, seen_at = clock_timestamp()
RETURNING t.id, t.paused;

-- name: find
-- $1 task. What is known of it; no row: it is new.
SELECT t.id, t.kind, t.source_table, t.source_columns, t.paused, w.poller IS NOT NULL AS has_watermark
  FROM service_ops.background_task t
  LEFT JOIN service_ops.integration_poll_watermark w ON w.poller = t.task_name
 WHERE t.task_name = $1;
