-- title: Nothing open lies at or below the low-water mark without a next attempt.
-- meaning: Messages would wait for ever. DELETE FROM service_ops.inbox_low_water makes every instance look from the beginning.
-- scope: once
SELECT count(*) AS found, min(m.inbox_id::text) AS detail
  FROM service_ops.integration_inbox m JOIN service_ops.inbox_low_water w USING (source)
 WHERE m.inbox_id <= w.low AND m.status IN ('NEW', 'PROCESSING', 'FAILED') AND m.next_attempt_at IS NULL
