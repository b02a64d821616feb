-- What a clock that stepped back leaves to the passes.

-- Looked at first: ADD COLUMN IF NOT EXISTS asks for its lock before it looks, and would wait for every pass.
DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a
                  WHERE a.attrelid = 'service_ops.poll_candidate'::regclass AND a.attname = 'scan_from' AND NOT a.attisdropped) THEN
    ALTER TABLE service_ops.poll_candidate
      ADD COLUMN IF NOT EXISTS scan_from timestamptz;
  END IF;
END $$;
COMMENT ON COLUMN service_ops.poll_candidate.scan_from IS 'Where passes begin while that is before the edge: after a step of the clock, until what has begun since is proven to have ended. NULL: at the edge.';

DO $$ BEGIN
  ASSERT (SELECT count(*) FROM pg_catalog.pg_attribute a
           WHERE a.attrelid = 'service_ops.poll_candidate'::regclass AND a.attname = 'scan_from' AND NOT a.attisdropped) = 1,
    'service_ops.poll_candidate.scan_from is missing';
  INSERT INTO service_ops.schema_window (schema_version, oldest_code) VALUES (8, 5) ON CONFLICT DO NOTHING;
END $$;
