-- Which instance runs which job. A job's row on its pg-boss queue does not say so.

-- Looked at first: ADD COLUMN IF NOT EXISTS asks for its lock before it looks, and would wait for every heartbeat. The
-- default is what a release that writes no claims leaves in it.
DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a
                  WHERE a.attrelid = 'service_ops.runner_instance'::regclass AND a.attname = 'claims_jobs' AND NOT a.attisdropped) THEN
    ALTER TABLE service_ops.runner_instance
      ADD COLUMN IF NOT EXISTS claims_jobs boolean NOT NULL DEFAULT false;
  END IF;
END $$;
COMMENT ON COLUMN service_ops.runner_instance.claims_jobs IS 'True: it writes into job_claim what it runs. While one lives that does not, a job without a claim may be running there.';

CREATE TABLE IF NOT EXISTS service_ops.job_claim (
  queue       text NOT NULL,
  job_id      uuid NOT NULL,
  retry_count integer NOT NULL,
  locked_by   text,
  claimed_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
  deaths      integer NOT NULL DEFAULT 0,
  freezes     integer NOT NULL DEFAULT 0,
  PRIMARY KEY (queue, job_id)
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 50, autovacuum_vacuum_scale_factor = 0);
COMMENT ON TABLE service_ops.job_claim IS 'Jobs that an instance runs, so that those of a dead one return within seconds. A row outlives its attempt by a moment: one whose attempt is not active any more means nothing.';
COMMENT ON COLUMN service_ops.job_claim.queue IS 'Queue of the job in pgboss.job: job.<name>.';
COMMENT ON COLUMN service_ops.job_claim.job_id IS 'The job.';
COMMENT ON COLUMN service_ops.job_claim.retry_count IS 'Its attempt: with queue and id, the fence of every write about it.';
COMMENT ON COLUMN service_ops.job_claim.locked_by IS 'Instance that runs it; NULL: it died, and nobody has begun the job again yet.';
COMMENT ON COLUMN service_ops.job_claim.claimed_at IS 'When it began.';
COMMENT ON COLUMN service_ops.job_claim.deaths IS 'Processes in a row that died while they ran it.';
COMMENT ON COLUMN service_ops.job_claim.freezes IS 'Instances in a row that froze while they ran it.';

DO $$ BEGIN
  ASSERT to_regclass('service_ops.job_claim') IS NOT NULL, 'service_ops.job_claim is missing';
  ASSERT (SELECT count(*) FROM pg_catalog.pg_attribute a
           WHERE a.attrelid = 'service_ops.runner_instance'::regclass AND a.attname = 'claims_jobs' AND NOT a.attisdropped) = 1,
    'service_ops.runner_instance.claims_jobs is missing';
  INSERT INTO service_ops.schema_window (schema_version, oldest_code) VALUES (15, 5) ON CONFLICT DO NOTHING;
END $$;
