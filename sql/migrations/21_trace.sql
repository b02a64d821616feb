-- Stands for the migration of this number, which comes by another way.
DO $$ BEGIN
  INSERT INTO service_ops.schema_window (schema_version, oldest_code) VALUES (21, 5) ON CONFLICT DO NOTHING;
END $$;
