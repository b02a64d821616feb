-- Messages that are claimed ahead of their handlers. There is no column for it: one at the end of the row, behind the payload,
-- would more than double what each claim and outcome writes to the log of the server (873 bytes a message against 387).
COMMENT ON COLUMN service_ops.integration_inbox.locked_at IS 'When it was claimed, while PROCESSING. NULL: claimed ahead; its handler has not begun, or began a moment ago, and attempts does not count this claim yet.';

DO $$ BEGIN
  INSERT INTO service_ops.schema_window (schema_version, oldest_code) VALUES (19, 5) ON CONFLICT DO NOTHING;
END $$;
