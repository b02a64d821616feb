-- postgres-migrations disable-transaction
-- What waits, by its group key and in order of its turn: how a claim with slots finds the messages of one key without
-- walking over those of a key that is full. Of the columns here only next_attempt_at ever changes, and an index on that is
-- there already, so claims and outcomes of sources without slots stay heap-only. A key has any length, an entry of an index
-- has not: by its first 200 characters, which are what keys are told apart by.
CREATE INDEX CONCURRENTLY IF NOT EXISTS integration_inbox_due_by_key
  ON service_ops.integration_inbox (source, left(group_key, 200), next_attempt_at, inbox_id) WHERE next_attempt_at IS NOT NULL;
