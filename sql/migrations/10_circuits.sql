-- Targets that an instance sends nothing to at present.

-- Looked at first: ADD COLUMN IF NOT EXISTS asks for its lock before it looks, and would wait for every heartbeat.
DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a
                  WHERE a.attrelid = 'service_ops.runner_instance'::regclass AND a.attname = 'circuits' AND NOT a.attisdropped) THEN
    ALTER TABLE service_ops.runner_instance
      ADD COLUMN IF NOT EXISTS circuits jsonb;
  END IF;
END $$;
COMMENT ON COLUMN service_ops.runner_instance.circuits IS 'Targets of deliveries that it sends nothing to, as of its newest heartbeat; NULL: none.';

CREATE OR REPLACE VIEW service_ops.circuit_status AS
SELECT c.target,
       i.instance_id,
       c.class,
       round((c.open_for_s + a.seconds)::numeric, 1)::double precision AS open_seconds,
       greatest(0, round((c.next_probe_s - a.seconds)::numeric, 1))::double precision AS next_probe_seconds
  FROM service_ops.runner_instance i
 CROSS JOIN LATERAL (SELECT extract(epoch FROM clock_timestamp() - i.last_seen_at)::double precision AS seconds) a
 CROSS JOIN LATERAL jsonb_to_recordset(i.circuits) c(target text, class text, open_for_s double precision, next_probe_s double precision)
 WHERE i.state <> 'stopped' AND i.last_seen_at > clock_timestamp() - interval '30 seconds'
 ORDER BY c.target, i.instance_id;
COMMENT ON VIEW service_ops.circuit_status IS 'One row for each target of deliveries that an instance sends nothing to at present, because it failed or asked for time.';
COMMENT ON COLUMN service_ops.circuit_status.target IS 'Origin of deliver.url.';
COMMENT ON COLUMN service_ops.circuit_status.instance_id IS 'The instance; each finds out for itself what it can reach.';
COMMENT ON COLUMN service_ops.circuit_status.class IS 'What its newest message met: a status, or the class of an error.';
COMMENT ON COLUMN service_ops.circuit_status.open_seconds IS 'Seconds since it opened.';
COMMENT ON COLUMN service_ops.circuit_status.next_probe_seconds IS 'Seconds until one message is sent to see how the target is.';

DO $$ BEGIN
  ASSERT (SELECT count(*) FROM pg_catalog.pg_attribute a
           WHERE a.attrelid = 'service_ops.runner_instance'::regclass AND a.attname = 'circuits' AND NOT a.attisdropped) = 1,
    'service_ops.runner_instance.circuits is missing';
  ASSERT to_regclass('service_ops.circuit_status') IS NOT NULL, 'service_ops.circuit_status is missing';
  INSERT INTO service_ops.schema_window (schema_version, oldest_code) VALUES (10, 5) ON CONFLICT DO NOTHING;
END $$;
