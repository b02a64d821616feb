-- Messages that are claimed ahead of their handler: one more column of the inbox, in no index, so that updates stay
-- heap-only. A constant default: no row is rewritten.

-- ADD COLUMN IF NOT EXISTS asks for its lock before it looks, and would wait for every handler at work: what is there is
-- not asked for.
DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_attribute
                  WHERE attrelid = 'service_ops.integration_inbox'::regclass AND NOT attisdropped AND attname = 'ahead') THEN
    ALTER TABLE service_ops.integration_inbox ADD COLUMN IF NOT EXISTS ahead boolean NOT NULL DEFAULT false;
  END IF;
END $$;
COMMENT ON COLUMN service_ops.integration_inbox.ahead IS 'Of a message in work: claimed ahead. Its handler has not begun, or began a moment ago, and attempts does not count this claim yet.';

DO $$ BEGIN
  ASSERT EXISTS (SELECT FROM pg_catalog.pg_attribute
                  WHERE attrelid = 'service_ops.integration_inbox'::regclass AND NOT attisdropped AND attname = 'ahead'), 'a column of service_ops.integration_inbox is missing';
  INSERT INTO service_ops.schema_window (schema_version, oldest_code) VALUES (18, 5) ON CONFLICT DO NOTHING;
END $$;
