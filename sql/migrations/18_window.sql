-- What a completed pass has seen, so that the next ones need not look for it again (ingest/window.ts).

-- Looked at first: ADD COLUMN IF NOT EXISTS asks for its lock before it looks, and would wait for every pass.
DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a
                  WHERE a.attrelid = 'service_ops.integration_poll_watermark'::regclass AND a.attname = 'window_source' AND NOT a.attisdropped) THEN
    ALTER TABLE service_ops.integration_poll_watermark
      ADD COLUMN IF NOT EXISTS scan_snapshot pg_snapshot,
      ADD COLUMN IF NOT EXISTS scan_start timestamptz,
      ADD COLUMN IF NOT EXISTS window_snapshot pg_snapshot,
      ADD COLUMN IF NOT EXISTS window_from timestamptz,
      ADD COLUMN IF NOT EXISTS window_source text;
  END IF;
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a
                  WHERE a.attrelid = 'service_ops.poll_candidate'::regclass AND a.attname = 'window_known' AND NOT a.attisdropped) THEN
    ALTER TABLE service_ops.poll_candidate
      ADD COLUMN IF NOT EXISTS window_known boolean;
  END IF;
END $$;
COMMENT ON COLUMN service_ops.integration_poll_watermark.scan_snapshot IS 'Snapshot that the present pass began with.';
COMMENT ON COLUMN service_ops.integration_poll_watermark.scan_start IS 'Time from which on the present pass reads.';
COMMENT ON COLUMN service_ops.integration_poll_watermark.window_snapshot IS 'Snapshot that the newest completed pass began with: rows whose transaction had ended by then were seen. NULL: nobody knows.';
COMMENT ON COLUMN service_ops.integration_poll_watermark.window_from IS 'Time from which on that pass had read.';
COMMENT ON COLUMN service_ops.integration_poll_watermark.window_source IS 'Table, by its number, condition and start of the server of which this is true. NULL: nothing is told from the age of its rows.';
COMMENT ON COLUMN service_ops.poll_candidate.window_known IS 'What the watermark says was seen was not made void by a reset since.';

DO $$ BEGIN
  ASSERT (SELECT count(*) FROM pg_catalog.pg_attribute a
           WHERE a.attrelid = 'service_ops.integration_poll_watermark'::regclass AND NOT a.attisdropped
             AND a.attname IN ('scan_snapshot', 'scan_start', 'window_snapshot', 'window_from', 'window_source')) = 5,
    'a column of service_ops.integration_poll_watermark is missing';
  ASSERT (SELECT count(*) FROM pg_catalog.pg_attribute a
           WHERE a.attrelid = 'service_ops.poll_candidate'::regclass AND a.attname = 'window_known' AND NOT a.attisdropped) = 1,
    'service_ops.poll_candidate.window_known is missing';
  INSERT INTO service_ops.schema_window (schema_version, oldest_code) VALUES (18, 5) ON CONFLICT DO NOTHING;
END $$;
