-- The watermark of each poller, and the inbox that it fills.

CREATE TABLE IF NOT EXISTS service_ops.integration_poll_watermark (
  id              integer PRIMARY KEY,
  poller          text NOT NULL UNIQUE,
  last_created_at timestamptz,
  last_message_id text,
  edge            timestamptz NOT NULL,
  holder          uuid NOT NULL,
  term            bigint NOT NULL,
  pass            bigint NOT NULL,
  scan_ts         timestamptz,
  scan_id         text,
  proven          timestamptz,
  rows_total      bigint NOT NULL DEFAULT 0,
  late_rows_total bigint NOT NULL DEFAULT 0,
  updated_at      timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 10, autovacuum_vacuum_threshold = 50, autovacuum_vacuum_scale_factor = 0);
COMMENT ON TABLE service_ops.integration_poll_watermark IS 'How far each poller has come. Everything older than edge is proven to be in the inbox.';
COMMENT ON COLUMN service_ops.integration_poll_watermark.id IS 'Number of the poller, as in background_task.';
COMMENT ON COLUMN service_ops.integration_poll_watermark.poller IS 'Name of the poller.';
COMMENT ON COLUMN service_ops.integration_poll_watermark.last_created_at IS 'Time of the greatest cursor ever taken in. Never goes back; may be ahead of edge. Nothing is computed from it.';
COMMENT ON COLUMN service_ops.integration_poll_watermark.last_message_id IS 'Id of the greatest cursor ever taken in.';
COMMENT ON COLUMN service_ops.integration_poll_watermark.edge IS 'Every source row with an earlier time is in the inbox. Never goes back.';
COMMENT ON COLUMN service_ops.integration_poll_watermark.holder IS 'Process that may write here: with term and pass, the fence.';
COMMENT ON COLUMN service_ops.integration_poll_watermark.term IS 'Term of the leadership that may write here.';
COMMENT ON COLUMN service_ops.integration_poll_watermark.pass IS 'Number of the present pass; every begin, takeover and reset raises it.';
COMMENT ON COLUMN service_ops.integration_poll_watermark.scan_ts IS 'Time part of the present pass''s position; NULL between passes.';
COMMENT ON COLUMN service_ops.integration_poll_watermark.scan_id IS 'Id part of the present pass''s position.';
COMMENT ON COLUMN service_ops.integration_poll_watermark.proven IS 'How far the present pass may move edge; NULL: not at all.';
COMMENT ON COLUMN service_ops.integration_poll_watermark.rows_total IS 'Rows ever put into the inbox by this poller.';
COMMENT ON COLUMN service_ops.integration_poll_watermark.late_rows_total IS 'Of those, rows taken in behind the greatest cursor. Ordinary: they committed late.';
COMMENT ON COLUMN service_ops.integration_poll_watermark.updated_at IS 'When this row was last written.';

-- Apart from the watermark row, which is read and written far more often than this list is long.
CREATE TABLE IF NOT EXISTS service_ops.poll_candidate (
  poller    text PRIMARY KEY,
  cand_ts   timestamptz,
  cand_vx   text[] NOT NULL DEFAULT '{}',
  cand_boot timestamptz
) WITH (fillfactor = 10, autovacuum_vacuum_threshold = 50, autovacuum_vacuum_scale_factor = 0);
COMMENT ON TABLE service_ops.poll_candidate IS 'The next time that an edge may move to, and the transactions that must end first.';
COMMENT ON COLUMN service_ops.poll_candidate.poller IS 'Name of the poller.';
COMMENT ON COLUMN service_ops.poll_candidate.cand_ts IS 'The candidate time.';
COMMENT ON COLUMN service_ops.poll_candidate.cand_vx IS 'Transactions that were alive then (virtualtransaction of pg_locks).';
COMMENT ON COLUMN service_ops.poll_candidate.cand_boot IS 'Start time of the server that named them; after a restart the names mean nothing.';

-- No index mentions status, locked_by or claim, so that a claim and its outcome are heap-only updates: any index
-- whose columns or predicate they change would make each of them a write to every index (0 % HOT, half the speed).
-- Open rows are found by the primary key from a low-water mark; what waits for a retry, was given back or is DEAD
-- has next_attempt_at set and lives in a small index of its own. Fillfactor leaves room for both updates.
CREATE TABLE IF NOT EXISTS service_ops.integration_inbox (
  inbox_id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  created_at        timestamptz NOT NULL DEFAULT now(),
  updated_at        timestamptz NOT NULL DEFAULT now(),
  source_created_at timestamptz,
  next_attempt_at   timestamptz,
  locked_at         timestamptz,
  processed_at      timestamptz,
  claim             integer NOT NULL DEFAULT 0,
  attempts          integer NOT NULL DEFAULT 0,
  max_attempts      integer NOT NULL DEFAULT 10,
  interruptions     integer NOT NULL DEFAULT 0,
  source            text NOT NULL,
  message_id        text NOT NULL,
  status            text NOT NULL DEFAULT 'NEW',
  locked_by         text,
  group_key         text,
  trace_id          text NOT NULL,
  traceparent       text,
  last_error        text,
  payload           jsonb,
  CONSTRAINT integration_inbox_message UNIQUE (source, message_id),
  CONSTRAINT integration_inbox_status CHECK (status IN ('NEW', 'PROCESSING', 'DONE', 'FAILED', 'DEAD', 'DISCARDED'))
) WITH (fillfactor = 45, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.1,
        autovacuum_analyze_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 1);
CREATE INDEX IF NOT EXISTS integration_inbox_waiting ON service_ops.integration_inbox (source, next_attempt_at)
  WHERE next_attempt_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS integration_inbox_trace ON service_ops.integration_inbox (trace_id);
CREATE INDEX IF NOT EXISTS integration_inbox_created ON service_ops.integration_inbox USING brin (created_at)
  WITH (pages_per_range = 32, autosummarize = on);
COMMENT ON TABLE service_ops.integration_inbox IS 'Messages to process, each taken in once and processed once.';
COMMENT ON COLUMN service_ops.integration_inbox.inbox_id IS 'Number of the message here, in order of arrival.';
COMMENT ON COLUMN service_ops.integration_inbox.created_at IS 'When it was taken in.';
COMMENT ON COLUMN service_ops.integration_inbox.updated_at IS 'When this row was last written.';
COMMENT ON COLUMN service_ops.integration_inbox.source_created_at IS 'Time of the source row.';
COMMENT ON COLUMN service_ops.integration_inbox.next_attempt_at IS 'When it may be claimed again, after a failure or a give-back; infinity for DEAD. NULL: never failed, or finished.';
COMMENT ON COLUMN service_ops.integration_inbox.locked_at IS 'When it was claimed, while PROCESSING.';
COMMENT ON COLUMN service_ops.integration_inbox.processed_at IS 'When it was finished: DONE or DISCARDED.';
COMMENT ON COLUMN service_ops.integration_inbox.claim IS 'How often it was claimed. With locked_by, the fence of an outcome; a number is never used twice.';
COMMENT ON COLUMN service_ops.integration_inbox.attempts IS 'Claims that count against max_attempts.';
COMMENT ON COLUMN service_ops.integration_inbox.max_attempts IS 'Attempts after which a failure makes it DEAD.';
COMMENT ON COLUMN service_ops.integration_inbox.interruptions IS 'Claims that ended through no fault of the message (drain, lost connection); they count against nothing.';
COMMENT ON COLUMN service_ops.integration_inbox.source IS 'Name of the poller or intake that it came by.';
COMMENT ON COLUMN service_ops.integration_inbox.message_id IS 'Its id at the source, as text. Unique per source.';
COMMENT ON COLUMN service_ops.integration_inbox.status IS 'NEW, PROCESSING, DONE, FAILED (will be tried again at next_attempt_at), DEAD (given up; needs a person), DISCARDED.';
COMMENT ON COLUMN service_ops.integration_inbox.locked_by IS 'Instance that has it, while PROCESSING.';
COMMENT ON COLUMN service_ops.integration_inbox.group_key IS 'Tenant or other group it belongs to.';
COMMENT ON COLUMN service_ops.integration_inbox.trace_id IS 'Follows the message from its source to the last log line.';
COMMENT ON COLUMN service_ops.integration_inbox.traceparent IS 'W3C trace context it came with.';
COMMENT ON COLUMN service_ops.integration_inbox.last_error IS 'Class and first line of the newest failure.';
COMMENT ON COLUMN service_ops.integration_inbox.payload IS 'What the handler gets. NULL when the source row could not be read.';

CREATE TABLE IF NOT EXISTS service_ops.inbox_low_water (
  source     text PRIMARY KEY,
  low        bigint NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 10, autovacuum_vacuum_threshold = 50, autovacuum_vacuum_scale_factor = 0);
COMMENT ON TABLE service_ops.inbox_low_water IS 'Where to begin to look for open messages: up to low, each is finished or has next_attempt_at set.';
COMMENT ON COLUMN service_ops.inbox_low_water.source IS 'Source of the messages.';
COMMENT ON COLUMN service_ops.inbox_low_water.low IS 'Greatest inbox_id that is proven to have nothing open at or below it. Only grows.';
COMMENT ON COLUMN service_ops.inbox_low_water.updated_at IS 'When it moved last.';

CREATE TABLE IF NOT EXISTS service_ops.poll_run (
  run_id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  poller        text NOT NULL,
  due_at        timestamptz NOT NULL,
  started_at    timestamptz NOT NULL,
  finished_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
  outcome       text NOT NULL CHECK (outcome IN ('ran', 'late', 'backstop', 'coalesced', 'missed', 'fenced', 'failed')),
  rows_read     bigint NOT NULL DEFAULT 0,
  rows_inserted bigint NOT NULL DEFAULT 0,
  late_rows     bigint NOT NULL DEFAULT 0,
  edge          timestamptz,
  term          bigint NOT NULL,
  instance_id   text NOT NULL,
  error         text
);
CREATE INDEX IF NOT EXISTS poll_run_by_poller ON service_ops.poll_run (poller, started_at DESC);
COMMENT ON TABLE service_ops.poll_run IS 'The ledger of passes.';
COMMENT ON COLUMN service_ops.poll_run.run_id IS 'Running number.';
COMMENT ON COLUMN service_ops.poll_run.poller IS 'Name of the poller.';
COMMENT ON COLUMN service_ops.poll_run.due_at IS 'When the pass was due.';
COMMENT ON COLUMN service_ops.poll_run.started_at IS 'When it began.';
COMMENT ON COLUMN service_ops.poll_run.finished_at IS 'When it ended.';
COMMENT ON COLUMN service_ops.poll_run.outcome IS 'ran; late (began long after it was due); backstop (its job did not come, the leader made it); coalesced; missed; fenced (another leads); failed.';
COMMENT ON COLUMN service_ops.poll_run.rows_read IS 'Source rows read, most of them again.';
COMMENT ON COLUMN service_ops.poll_run.rows_inserted IS 'Rows put into the inbox.';
COMMENT ON COLUMN service_ops.poll_run.late_rows IS 'Of those, rows behind the greatest cursor.';
COMMENT ON COLUMN service_ops.poll_run.edge IS 'The edge after it.';
COMMENT ON COLUMN service_ops.poll_run.term IS 'Term of the leader.';
COMMENT ON COLUMN service_ops.poll_run.instance_id IS 'The leader.';
COMMENT ON COLUMN service_ops.poll_run.error IS 'Why it failed: class and first line.';

DO $$ BEGIN
  ASSERT to_regclass('service_ops.integration_poll_watermark') IS NOT NULL, 'service_ops.integration_poll_watermark is missing';
  ASSERT to_regclass('service_ops.poll_candidate') IS NOT NULL, 'service_ops.poll_candidate is missing';
  ASSERT to_regclass('service_ops.integration_inbox') IS NOT NULL, 'service_ops.integration_inbox is missing';
  ASSERT to_regclass('service_ops.integration_inbox_waiting') IS NOT NULL, 'index integration_inbox_waiting is missing';
  ASSERT to_regclass('service_ops.integration_inbox_trace') IS NOT NULL, 'index integration_inbox_trace is missing';
  ASSERT to_regclass('service_ops.inbox_low_water') IS NOT NULL, 'service_ops.inbox_low_water is missing';
  ASSERT to_regclass('service_ops.poll_run') IS NOT NULL, 'service_ops.poll_run is missing';
END $$;
