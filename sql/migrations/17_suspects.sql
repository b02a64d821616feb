-- Suspects have an index of their own.
DO $$ BEGIN
  ASSERT (SELECT count(*) = 1 FROM pg_catalog.pg_index i
           WHERE i.indexrelid = to_regclass('service_ops.integration_inbox_suspects') AND i.indisvalid), 'an index of service_ops.integration_inbox is missing or invalid';
  INSERT INTO service_ops.schema_window (schema_version, oldest_code) VALUES (17, 5) ON CONFLICT DO NOTHING;
END $$;
