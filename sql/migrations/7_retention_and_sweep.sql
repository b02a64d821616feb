-- What retention forgets and what the sweep finds; a reset is a row of the ledger.

CREATE TABLE IF NOT EXISTS service_ops.poll_sweep (
  poller       text PRIMARY KEY,
  turn         bigint NOT NULL DEFAULT 0,
  undated      boolean NOT NULL DEFAULT true,
  scan_ts      timestamptz,
  scan_id      text,
  asked_at     timestamptz,
  started_at   timestamptz,
  finished_at  timestamptz,
  swept_at     timestamptz,
  looked       bigint NOT NULL DEFAULT 0,
  found        bigint NOT NULL DEFAULT 0,
  found_total  bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 10, autovacuum_vacuum_threshold = 50, autovacuum_vacuum_scale_factor = 0);
COMMENT ON TABLE service_ops.poll_sweep IS 'Where the sweep of each poller is: it looks at every source row below the edge that retention has not forgotten, and takes in what is missing.';
COMMENT ON COLUMN service_ops.poll_sweep.poller IS 'Name of the poller.';
COMMENT ON COLUMN service_ops.poll_sweep.turn IS 'Raised by every page and every beginning: who names an older one is refused.';
COMMENT ON COLUMN service_ops.poll_sweep.undated IS 'It is among the rows without a time, which come first.';
COMMENT ON COLUMN service_ops.poll_sweep.scan_ts IS 'Time part of its position; NULL: at the beginning, or among rows without a time.';
COMMENT ON COLUMN service_ops.poll_sweep.scan_id IS 'Id part of its position; NULL: at the beginning.';
COMMENT ON COLUMN service_ops.poll_sweep.asked_at IS 'When a sweep was asked for before its time: a clock that stepped back, a restart, a watermark made again.';
COMMENT ON COLUMN service_ops.poll_sweep.started_at IS 'When the present sweep began, or the newest one.';
COMMENT ON COLUMN service_ops.poll_sweep.finished_at IS 'When it was through; NULL: it is under way.';
COMMENT ON COLUMN service_ops.poll_sweep.swept_at IS 'When the newest sweep that was through had begun: what had committed by then is in the inbox.';
COMMENT ON COLUMN service_ops.poll_sweep.looked IS 'Source rows that it has looked at.';
COMMENT ON COLUMN service_ops.poll_sweep.found IS 'Of those, rows that were missing from the inbox.';
COMMENT ON COLUMN service_ops.poll_sweep.found_total IS 'Rows that any sweep of this poller ever found. Not ordinary: an assumption about their time does not hold.';

-- The constraint is looked at first: ALTER TABLE asks for its lock before it looks, and would wait for every pass.
DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_constraint c
                  WHERE c.conrelid = 'service_ops.poll_run'::regclass AND c.contype = 'c' AND pg_get_constraintdef(c.oid) LIKE '%reset%') THEN
    ALTER TABLE service_ops.poll_run
      DROP CONSTRAINT IF EXISTS poll_run_outcome_check,
      ADD CONSTRAINT poll_run_outcome_check
        CHECK (outcome IN ('ran', 'late', 'backstop', 'coalesced', 'missed', 'fenced', 'failed', 'reset'));
  END IF;
END $$;
COMMENT ON COLUMN service_ops.poll_run.outcome IS 'ran; late (began long after it was due); backstop (its job did not come, the leader made it); coalesced; missed; fenced (another leads); failed; reset (an operator gave the poller a new start: no pass).';

-- Read by every statement that takes rows in, after it has locked the task FOR KEY SHARE. That lock returns the row as the
-- statement's snapshot has it, even when an update was committed since (only an update of a key is followed); a volatile
-- function has a snapshot of its own.
CREATE OR REPLACE FUNCTION service_ops.forgotten_before(poller text) RETURNS timestamptz
LANGUAGE plpgsql VOLATILE AS $forgotten$
BEGIN
  RETURN (SELECT t.forgotten_before FROM service_ops.background_task t WHERE t.task_name = poller);
END $forgotten$;
COMMENT ON FUNCTION service_ops.forgotten_before(text) IS 'What of this poller may have been forgotten, as it is at this moment, whatever the snapshot of the statement around it.';

-- A view of its own: every file can be run again, and 4 would take columns away from poller_status, which is refused.
CREATE OR REPLACE VIEW service_ops.sweep_status AS
SELECT t.id,
       t.task_name AS poller,
       t.forgotten_before,
       w.edge,
       s.swept_at,
       CASE WHEN s.finished_at IS NULL THEN s.started_at END AS sweeping_since,
       coalesce(s.looked, 0) AS last_looked,
       coalesce(s.found, 0) AS last_found,
       coalesce(s.found_total, 0) AS sweep_found_total
  FROM service_ops.background_task t
  LEFT JOIN service_ops.integration_poll_watermark w ON w.poller = t.task_name
  LEFT JOIN service_ops.poll_sweep s ON s.poller = t.task_name
 WHERE t.kind = 'poller'
 ORDER BY t.id;
COMMENT ON VIEW service_ops.sweep_status IS 'One row a poller: what its source has that only the sweep could find, and what retention has forgotten.';
COMMENT ON COLUMN service_ops.sweep_status.id IS 'Number of the task.';
COMMENT ON COLUMN service_ops.sweep_status.poller IS 'Name of the poller.';
COMMENT ON COLUMN service_ops.sweep_status.forgotten_before IS 'Source rows older than this may have been processed and deleted by retention; they are never taken in again.';
COMMENT ON COLUMN service_ops.sweep_status.edge IS 'Every source row with an earlier time is in the inbox; a sweep looks at those again, down to forgotten_before.';
COMMENT ON COLUMN service_ops.sweep_status.swept_at IS 'When the newest sweep that was through had begun; NULL: none was yet.';
COMMENT ON COLUMN service_ops.sweep_status.sweeping_since IS 'When the sweep that is under way began; NULL: none is.';
COMMENT ON COLUMN service_ops.sweep_status.last_looked IS 'Source rows that the present or newest sweep has looked at.';
COMMENT ON COLUMN service_ops.sweep_status.last_found IS 'Of those, rows that were missing from the inbox.';
COMMENT ON COLUMN service_ops.sweep_status.sweep_found_total IS 'Rows that only a sweep found. Not ordinary: an assumption about their time does not hold.';

DO $$ BEGIN
  ASSERT to_regclass('service_ops.poll_sweep') IS NOT NULL, 'service_ops.poll_sweep is missing';
  ASSERT to_regprocedure('service_ops.forgotten_before(text)') IS NOT NULL, 'service_ops.forgotten_before() is missing';
  ASSERT to_regclass('service_ops.sweep_status') IS NOT NULL, 'service_ops.sweep_status is missing';
  INSERT INTO service_ops.schema_window (schema_version, oldest_code) VALUES (7, 5) ON CONFLICT DO NOTHING;
END $$;
