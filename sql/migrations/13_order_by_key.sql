-- postgres-migrations disable-transaction
-- The same in the order of the source: the first entry of a key is the message that all its others wait for.
CREATE INDEX CONCURRENTLY IF NOT EXISTS integration_inbox_order_by_key
  ON service_ops.integration_inbox (source, left(group_key, 200), source_created_at, inbox_id) WHERE next_attempt_at IS NOT NULL;
