-- postgres-migrations disable-transaction
-- Suspects that wait: few, while the whole backlog of a source with slots waits beside them. Outcomes of others leave
-- `suspect` as it is, so they stay heap-only.
CREATE INDEX CONCURRENTLY IF NOT EXISTS integration_inbox_suspects
  ON service_ops.integration_inbox (source, next_attempt_at) WHERE suspect AND next_attempt_at IS NOT NULL;
