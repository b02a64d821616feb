-- What a rehearsal remembers, in a schema of its own and on a scratch database. Made anew by each.
DROP SCHEMA IF EXISTS tidemark_rehearsal CASCADE;
CREATE SCHEMA tidemark_rehearsal;
COMMENT ON SCHEMA tidemark_rehearsal IS 'The newest rehearsal''s record (tidemark rehearse); may be dropped.';

CREATE SEQUENCE tidemark_rehearsal.number;

CREATE TABLE tidemark_rehearsal.written (
  source     text NOT NULL,
  message_id text NOT NULL,
  written_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (source, message_id)
);
COMMENT ON TABLE tidemark_rehearsal.written IS 'Rows that the writer committed to a source, each noted in the transaction that wrote it.';

CREATE TABLE tidemark_rehearsal.effect (
  source     text NOT NULL,
  message_id text NOT NULL,
  machine    text NOT NULL,
  at         timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX ON tidemark_rehearsal.effect (source, message_id);
COMMENT ON TABLE tidemark_rehearsal.effect IS 'Transactional handlers: one row per run, written in the message''s own transaction, so that it commits with DONE or not at all. Two for a message: doubled.';

CREATE TABLE tidemark_rehearsal.handler_run (
  run_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  source     text NOT NULL,
  message_id text NOT NULL,
  machine    text NOT NULL,
  began_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
  outcome    text CHECK (outcome IN ('done', 'failed', 'interrupted'))
);
CREATE INDEX ON tidemark_rehearsal.handler_run (source, message_id);
COMMENT ON TABLE tidemark_rehearsal.handler_run IS 'External and batch handlers: one row per run, written before it. outcome NULL: its process ended first.';

CREATE TABLE tidemark_rehearsal.handler_failure (
  source     text NOT NULL,
  message_id text NOT NULL,
  at         timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX ON tidemark_rehearsal.handler_failure (source, message_id);
COMMENT ON TABLE tidemark_rehearsal.handler_failure IS 'Runs that failed by themselves: the handler threw, or its time was up. Each may cost an attempt.';

CREATE TABLE tidemark_rehearsal.cut_off (
  source     text NOT NULL,
  message_id text NOT NULL,
  instance   text NOT NULL,
  at         timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX ON tidemark_rehearsal.cut_off (source, message_id);
COMMENT ON TABLE tidemark_rehearsal.cut_off IS 'Messages that a process had in work when it was killed or crashed: each may run again, and cost an attempt.';
