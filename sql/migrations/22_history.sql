-- What was counted, minute by minute, for whoever asks how it was an hour, a day or a week ago.

-- By time first: every instance writes at the end, a look reads one stretch, and what is too old lies at the beginning.
CREATE TABLE IF NOT EXISTS service_ops.history_minute (
  at    timestamptz NOT NULL,
  name  text NOT NULL,
  key   text NOT NULL,
  value double precision NOT NULL,
  CONSTRAINT history_minute_pkey PRIMARY KEY (at, name, key)
) WITH (autovacuum_vacuum_scale_factor = 0.05);
COMMENT ON TABLE service_ops.history_minute IS 'What was counted in each minute of the last 8 days. Counts, which are 0 where there is no row: ingested, done, failed, dead, interrupted (messages of source key); late_rows (of poller key); latency and handler (messages of "source bound" whose latency, or whose handler, took no longer than bound seconds and longer than the bound before it). As they were once in the minute: backlog (messages of "source STATUS", none where there is no row), oldest_seconds (age of the oldest open message of source key), lag_seconds and edge_lag_seconds (of poller key), instances (in state key). flushed: instance key has written its counts, up to its batch number value.';
COMMENT ON COLUMN service_ops.history_minute.at IS 'Beginning of the minute, by the database''s clock.';
COMMENT ON COLUMN service_ops.history_minute.name IS 'What was counted.';
COMMENT ON COLUMN service_ops.history_minute.key IS 'Of what: a source, a poller, a source and a bound or a status, a state, an instance.';
COMMENT ON COLUMN service_ops.history_minute.value IS 'How many, or how many seconds.';

DO $$ BEGIN
  ASSERT to_regclass('service_ops.history_minute') IS NOT NULL, 'service_ops.history_minute is missing';
  INSERT INTO service_ops.schema_window (schema_version, oldest_code) VALUES (22, 5) ON CONFLICT DO NOTHING;
END $$;
