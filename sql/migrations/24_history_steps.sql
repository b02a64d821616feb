-- The history in coarser steps, for whoever looks at a day or at a week: of minutes, a week of three busy sources has 600,000
-- rows, and to read them all takes a second.

-- What is looked at lies together: steps of one length, in order of time.
CREATE TABLE IF NOT EXISTS service_ops.history_step (
  minutes integer NOT NULL,
  at      timestamptz NOT NULL,
  name    text NOT NULL,
  key     text NOT NULL,
  value   double precision NOT NULL,
  CONSTRAINT history_step_pkey PRIMARY KEY (minutes, at, name, key)
) WITH (autovacuum_vacuum_scale_factor = 0.05);
COMMENT ON TABLE service_ops.history_step IS 'service_ops.history_minute in steps of 10 and of 60 minutes, of the same 8 days; made from it again and again, so that what is lost here comes back. Of counts a step has the sum of its minutes, of everything else the greatest value. The newest steps may lack up to ten minutes.';
COMMENT ON COLUMN service_ops.history_step.minutes IS 'Length of the step: 10 or 60.';
COMMENT ON COLUMN service_ops.history_step.at IS 'Beginning of the step, a multiple of its length in UTC.';
COMMENT ON COLUMN service_ops.history_step.name IS 'What was counted, as in history_minute.';
COMMENT ON COLUMN service_ops.history_step.key IS 'Of what, as in history_minute.';
COMMENT ON COLUMN service_ops.history_step.value IS 'How many, or how many seconds.';

DO $$ BEGIN
  ASSERT to_regclass('service_ops.history_step') IS NOT NULL, 'service_ops.history_step is missing';
  INSERT INTO service_ops.schema_window (schema_version, oldest_code) VALUES (24, 5) ON CONFLICT DO NOTHING;
END $$;
